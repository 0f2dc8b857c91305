/**
 * The shims of the line, alike whatever they are: one that is static has a thread of the agent behind it (`StaticSlot`), and whoever
 * speaks to a slot need not know.
 *
 * Owns the socket's server and those threads.
 */
import type { AgentToShim, AgentToStaticShim, Hello, ShimToAgent } from '../../runtime/contracts/shim-protocol.js';
import type { Logger } from '../../runtime/platform/logger.js';
import { StaticSlot } from '../../runtime/stages/static-slot.js';
import { ShimServer, type ShimEvents } from './shim-server.js';

export class Shims {
  readonly #server: ShimServer;
  /** Of each slot that has had a static shim, and whether it has one now. */
  readonly #static = new Map<number, StaticSlot>();
  readonly #isStatic = new Set<number>();

  constructor(
    socketPath: string,
    slots: number,
    private readonly events: ShimEvents,
    private readonly logger: Logger,
  ) {
    this.#server = new ShimServer(
      socketPath,
      slots,
      {
        hello: (slot, hello) => {
          this.#hello(slot, hello);
        },
        message: (slot, message) => {
          this.#heard(slot, message);
        },
        gone: (slot) => {
          this.#gone(slot);
        },
      },
      logger,
    );
  }

  listen(): Promise<void> {
    return this.#server.listen();
  }

  /** False when no shim is connected for the slot: its loss was told, or will be. */
  send(slot: number, message: AgentToShim): boolean {
    const foreign = this.#isStatic.has(slot) ? this.#static.get(slot) : undefined;
    if (foreign === undefined) return this.#server.send(slot, message);
    if (!this.#server.isConnected(slot)) return false;
    foreign.take(message);
    return true;
  }

  /** Hangs up on a slot's shim; it will connect again, or its container be replaced. */
  hangUp(slot: number): void {
    this.#server.hangUp(slot);
  }

  /** Settles when nobody but the agent itself uses the scratch any more. */
  async close(): Promise<void> {
    await this.#server.close();
    await Promise.all([...this.#static.values()].map((slot) => slot.close()));
  }

  #hello(slot: number, hello: Hello): void {
    // A connection that another takes the place of is not told as gone.
    this.#static.get(slot)?.gone();
    this.#isStatic.delete(slot);
    if (hello.kind === 'static') {
      const foreign = this.#static.get(slot) ?? this.#newStatic(slot);
      this.#isStatic.add(slot);
      foreign.hello(hello.step);
    }
    this.events.hello(slot, hello);
  }

  #heard(slot: number, message: Exclude<ShimToAgent, Hello>): void {
    if (this.#isStatic.has(slot)) this.#static.get(slot)?.heard(message);
    else this.events.message(slot, message);
  }

  #gone(slot: number): void {
    if (this.#isStatic.delete(slot)) this.#static.get(slot)?.gone();
    this.events.gone(slot);
  }

  #newStatic(slot: number): StaticSlot {
    const foreign = new StaticSlot(slot, {
      toShim: (message: AgentToStaticShim) => {
        this.#server.send(slot, message);
      },
      toAgent: (message) => {
        this.events.message(slot, message);
      },
      onFault: (error) => {
        this.logger.error({ slot, err: error.stack ?? error.message }, 'the thread behind a static shim died');
        this.#server.hangUp(slot);
      },
    });
    this.#static.set(slot, foreign);
    return foreign;
  }
}
