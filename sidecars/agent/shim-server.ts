/**
 * The agent's end of the shims' unix socket: one connection per slot, messages parsed once and handed on.
 *
 * Owns the socket and which connection speaks for which slot. Decides nothing: what a hello means is the heart's to say.
 *
 * Invariants
 *  1. A slot has at most one connection; a new hello replaces it, and the old one is closed without being heard again.
 *  2. A connection that says anything before hello, or anything that does not fit the protocol, is closed.
 */
import { chmod, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { PodlineError } from '../../runtime/contracts/errors.js';
import {
  shimFrameBytesMax,
  shimProtocolVersion,
  shimToAgentSchema,
  type AgentToShim,
  type AgentToStaticShim,
  type Hello,
  type ShimToAgent,
} from '../../runtime/contracts/shim-protocol.js';
import { encodeFrame, FrameDecoder } from '../../runtime/platform/frames.js';
import type { Logger } from '../../runtime/platform/logger.js';

export interface ShimEvents {
  hello(slot: number, hello: Hello): void;
  message(slot: number, message: Exclude<ShimToAgent, Hello>): void;
  /** The connection that spoke for the slot is gone. */
  gone(slot: number): void;
}

export class ShimServer {
  readonly #connections = new Map<number, Socket>();
  readonly #server: Server;

  constructor(
    private readonly socketPath: string,
    private readonly slots: number,
    private readonly events: ShimEvents,
    private readonly logger: Logger,
  ) {
    this.#server = createServer((socket) => {
      this.#serve(socket);
    });
  }

  async listen(): Promise<void> {
    // A socket that a killed agent left behind.
    await rm(this.socketPath, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject).listen(this.socketPath, resolve);
    });
    // In a pod, agent and stages may run as different users.
    await chmod(this.socketPath, 0o666);
  }

  isConnected(slot: number): boolean {
    return this.#connections.has(slot);
  }

  /** False when no shim is connected for the slot: its loss was told, or will be. */
  send(slot: number, message: AgentToShim | AgentToStaticShim): boolean {
    const socket = this.#connections.get(slot);
    if (socket === undefined) return false;
    socket.write(encodeFrame(message, shimFrameBytesMax));
    return true;
  }

  /** Hangs up on a slot's shim; it will connect again, or its container be replaced. */
  hangUp(slot: number): void {
    this.#connections.get(slot)?.destroy();
  }

  async close(): Promise<void> {
    for (const socket of this.#connections.values()) socket.destroy();
    await new Promise<void>((resolve) => {
      this.#server.close(() => {
        resolve();
      });
    });
    await rm(this.socketPath, { force: true });
  }

  #serve(socket: Socket): void {
    const decoder = new FrameDecoder(shimFrameBytesMax);
    let slot: number | undefined;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => {
      try {
        for (const raw of decoder.push(chunk)) {
          const message = this.#parse(raw);
          if (message.type === 'hello') {
            slot = this.#introduce(socket, message);
          } else if (slot === undefined) {
            throw new PodlineError('PDL_PROTOCOL', `a shim said ${message.type} before hello`);
          } else if (this.#connections.get(slot) === socket) {
            this.events.message(slot, message);
          }
        }
      } catch (thrown) {
        this.logger.warn({ slot, err: PodlineError.from(thrown, 'PDL_PROTOCOL').message }, 'hung up on a shim');
        socket.destroy();
      }
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      if (slot !== undefined && this.#connections.get(slot) === socket) {
        this.#connections.delete(slot);
        this.events.gone(slot);
      }
    });
  }

  #parse(raw: unknown): ShimToAgent {
    const parsed = shimToAgentSchema.safeParse(raw);
    if (!parsed.success)
      throw new PodlineError('PDL_PROTOCOL', `a shim sent what the protocol does not know: ${parsed.error.message}`);
    return parsed.data;
  }

  #introduce(socket: Socket, hello: Hello): number {
    if (hello.protocol !== shimProtocolVersion) {
      throw new PodlineError(
        'PDL_PROTOCOL',
        `slot ${String(hello.slot)} speaks protocol ${String(hello.protocol)}, the agent ${String(shimProtocolVersion)}`,
      );
    }
    if (hello.slot >= this.slots)
      throw new PodlineError('PDL_PROTOCOL', `there is no slot ${String(hello.slot)}: the line has ${String(this.slots)}`);
    const before = this.#connections.get(hello.slot);
    this.#connections.set(hello.slot, socket);
    if (before !== undefined && before !== socket) before.destroy();
    this.events.hello(hello.slot, hello);
    return hello.slot;
  }
}
