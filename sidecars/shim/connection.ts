/**
 * The shim's end of the agent's socket: connected again and again, for as long as the process lives.
 *
 * Invariants
 *  1. Whatever happens to the socket, there is a next attempt, at the latest after `pauseMaxMs`; a shim never gives up.
 *  2. `onLost` has settled before the next attempt: a new agent never meets the run of the one before.
 *  3. A message that does not fit the protocol ends the connection, not the process.
 */
import { createConnection, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { shimFrameBytesMax } from '../../runtime/contracts/shim-frames.js';
import type { AgentToShim, ShimToAgent } from '../../runtime/contracts/shim-protocol.js';
import { encodeFrame, FrameDecoder } from '../../runtime/platform/frames.js';
import type { Logger } from '../../runtime/platform/logger.js';

const pauseFirstMs = 10;
const pauseMaxMs = 500;

export interface ConnectionEvents {
  /** Connected: the place to say hello. */
  onConnected(): void;
  onMessage(message: AgentToShim): void;
  onLost(): Promise<void>;
}

export class AgentConnection {
  #socket: Socket | undefined;
  readonly #ended = new AbortController();

  constructor(
    private readonly socketPath: string,
    private readonly events: ConnectionEvents,
    private readonly logger: Logger,
  ) {}

  /** Connects until `close`. */
  async run(): Promise<void> {
    let pauseMs = pauseFirstMs;
    while (!this.#ended.signal.aborted) {
      const wasConnected = await this.#connectOnce();
      if (wasConnected) {
        pauseMs = pauseFirstMs;
        await this.events.onLost();
      }
      await delay(pauseMs, undefined, { signal: this.#ended.signal }).catch(() => undefined);
      pauseMs = Math.min(pauseMs * 2, pauseMaxMs);
    }
  }

  /** In one write. False when nobody is connected: the messages are for nobody then. */
  send(...messages: ShimToAgent[]): boolean {
    const socket = this.#socket;
    if (socket === undefined) return false;
    const frames = messages.map((message) => encodeFrame(message, shimFrameBytesMax));
    socket.write(frames.length === 1 && frames[0] !== undefined ? frames[0] : Buffer.concat(frames));
    return true;
  }

  /** Says its last word and hangs up. Idempotent. */
  async close(): Promise<void> {
    this.#ended.abort();
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket === undefined || socket.destroyed) return;
    await new Promise<void>((resolve) => {
      socket.once('close', resolve);
      socket.end(() => socket.destroy());
    });
  }

  /** Settles when the connection is over: whether there was one. */
  #connectOnce(): Promise<boolean> {
    return new Promise((resolve) => {
      const decoder = new FrameDecoder(shimFrameBytesMax);
      const socket = createConnection(this.socketPath);
      let wasConnected = false;
      socket.setNoDelay(true);
      socket.on('connect', () => {
        if (this.#ended.signal.aborted) {
          socket.destroy();
          return;
        }
        wasConnected = true;
        this.#socket = socket;
        this.events.onConnected();
      });
      socket.on('data', (chunk) => {
        try {
          for (const message of decoder.push(chunk)) this.events.onMessage(message as AgentToShim);
        } catch (thrown) {
          this.logger.warn({ err: thrown instanceof Error ? thrown.message : String(thrown) }, 'hung up on the agent');
          socket.destroy();
        }
      });
      socket.on('error', (error) => this.logger.debug({ err: error.message }, 'the socket of the agent is not there'));
      socket.on('close', () => {
        if (this.#socket === socket) this.#socket = undefined;
        resolve(wasConnected);
      });
    });
  }
}
