/**
 * A slot whose shim is static, as the agent sees it: spoken to as any other, by `take`, and answering as any other, by `toAgent`. What the
 * shim of such a slot cannot do (docs/shim-protocol.md) is done by a thread of this process.
 *
 * Invariants
 *  1. What was under way for a shim that is gone is never heard of again.
 *  2. `ready` is said when both are: the shim, and the thread that works for it.
 */
import { Worker } from 'node:worker_threads';
import type { AgentToShim, AgentToStaticShim, Hello, ShimToAgent, Welcome } from '../contracts/shim-protocol.js';
import { entryPath } from '../platform/entries.js';
import type { FromStaticSlot, ToStaticSlot } from './static-slot-messages.js';

export interface StaticSlotVoices {
  /** To the shim. */
  toShim(message: AgentToStaticShim): void;
  toAgent(message: Exclude<ShimToAgent, Hello>): void;
  /** The thread died of a fault of its own; hang up on the shim: with its next hello there is another one. */
  onFault(error: Error): void;
}

export class StaticSlot {
  #worker: Worker | undefined;
  #exited: Promise<void> = Promise.resolve();
  #life = 0;
  #isHere = false;
  #welcome: Welcome | undefined;

  constructor(
    private readonly slot: number,
    private readonly voices: StaticSlotVoices,
  ) {}

  /** A shim said hello, and no static one before it is there any more. */
  hello(step: string): void {
    this.#life += 1;
    this.#isHere = true;
    this.#welcome = undefined;
    this.#post({ type: 'begin', life: this.#life, slot: this.slot, step });
  }

  /** What the agent says to the slot. */
  take(message: AgentToShim): void {
    if (message.type !== 'welcome') {
      this.#post({ type: 'agent', message });
      return;
    }
    this.#welcome = message;
    this.voices.toShim(message);
  }

  /** What the shim says. */
  heard(message: Exclude<ShimToAgent, Hello>): void {
    if (message.type === 'exited') {
      this.#post({ type: 'exited', message });
      return;
    }
    if (message.type === 'ready') {
      if (this.#welcome !== undefined) this.#post({ type: 'agent', message: this.#welcome });
      return;
    }
    this.voices.toAgent(message);
  }

  /** The shim is gone. */
  gone(): void {
    if (!this.#isHere) return;
    this.#isHere = false;
    this.#worker?.postMessage({ type: 'lost' } satisfies ToStaticSlot);
  }

  /** Settles when the thread has let go of the scratch. Idempotent. */
  async close(): Promise<void> {
    this.#isHere = false;
    this.#worker?.postMessage({ type: 'close' } satisfies ToStaticSlot);
    this.#worker = undefined;
    await this.#exited;
  }

  #post(message: ToStaticSlot): void {
    if (!this.#isHere) return;
    this.#worker ??= this.#start();
    this.#worker.postMessage(message);
  }

  #start(): Worker {
    const worker = new Worker(entryPath('runtime/stages/static-slot-thread'));
    worker.on('message', (message: FromStaticSlot) => {
      if (!this.#isHere || message.life !== this.#life) return;
      if (message.type === 'toShim') this.voices.toShim(message.message);
      else for (const said of message.messages) if (said.type !== 'hello') this.voices.toAgent(said);
    });
    worker.on('error', (error) => {
      this.voices.onFault(error);
    });
    this.#exited = new Promise((resolve) => {
      worker.on('exit', () => {
        if (this.#worker === worker) this.#worker = undefined;
        resolve();
      });
    });
    return worker;
  }
}
