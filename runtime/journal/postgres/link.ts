/**
 * Connections to the database that live and end together: a client of postgres.js, whose sockets are ours.
 *
 * postgres.js can leave a query unanswered for ever. A socket that fails tells its error first and that it is closed a moment
 * later; a query that is sent in between waits behind the next connection for an answer that nobody will send, and what
 * comes after it waits as well. So a link that has lost anything is cut: its sockets are destroyed, everything on it fails
 * at once, and whoever holds it makes a new one (see database.ts).
 *
 * Invariants
 *  1. Once a link is cut, `cut` is rejected and no socket of it is open, nor ever made.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import postgres, { type Options, type Sql } from 'postgres';
import type { Connection } from './connection.js';

export interface LinkOptions {
  connectionsMax: number;
  /** For a connection to be made, and again for the server to let us in. */
  connectMs: number;
  /** A connection of the link has closed, whatever for. */
  onClosed?: (() => void) | undefined;
  /** Of the channels that were listened to. */
  onNotify?: ((channel: string, payload: string) => void) | undefined;
}

/** Options of postgres.js that its types leave out. */
interface Hooks {
  socket: (target: Target) => Promise<Socket>;
  onnotify?: ((channel: string, payload: string) => void) | undefined;
}

interface Target {
  host: string[];
  port: number[];
  path?: string | false | undefined;
}

export class Link {
  readonly sql: Sql;
  /** Never resolved. */
  readonly cut: Promise<never>;
  readonly #sockets = new Set<Socket>();
  #error: Error | undefined;
  #reject!: (error: Error) => void;
  #tries = 0;

  constructor(
    { url, host, settings }: Connection,
    private readonly options: LinkOptions,
  ) {
    this.cut = new Promise<never>((_, reject) => {
      this.#reject = reject;
    });
    this.cut.catch(() => undefined);
    const given: Options<Record<string, never>> & Hooks = {
      ...(host === undefined ? {} : { host }),
      max: options.connectionsMax,
      connect_timeout: Math.max(1, Math.ceil(options.connectMs / 1_000)),
      max_lifetime: null,
      // Nothing that the journal asks or tells is an array: connecting needs no question for their types.
      fetch_types: false,
      onnotice: () => undefined,
      connection: { ...settings },
      onclose: () => options.onClosed?.(),
      onnotify: options.onNotify,
      socket: (target) => this.#connect(target),
    };
    this.sql = postgres(url, given);
  }

  /** Whatever is under way fails with `error`. Idempotent. */
  end(error: Error): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#reject(error);
    for (const socket of this.#sockets) socket.on('error', ignore).destroy(error);
    // Whoever goes on with it all the same is refused.
    void this.sql.end({ timeout: 0 }).catch(() => undefined);
  }

  /** Resolves to a connected socket. */
  async #connect({ host, port, path }: Target): Promise<Socket> {
    if (this.#error !== undefined) throw this.#error;
    const at = this.#tries++ % host.length;
    const socket = typeof path === 'string' ? connect(path) : connect({ host: host[at] ?? '', port: port[at] ?? 0 });
    // Until postgres.js listens, so that no error is nobody's.
    socket.on('error', ignore);
    for (const gone of this.#sockets) if (gone.destroyed) this.#sockets.delete(gone);
    this.#sockets.add(socket);
    const timer = setTimeout(() => {
      socket.destroy(noAnswer(this.options.connectMs));
    }, this.options.connectMs);
    try {
      await once(socket, 'connect');
    } finally {
      clearTimeout(timer);
    }
    socket.setKeepAlive(true, keepAliveMs);
    // By this name the certificate of the server is checked.
    return Object.assign(socket, { host: host[at] });
  }
}

const keepAliveMs = 10_000;
const ignore = (): void => undefined;

export function noAnswer(ms: number): Error {
  return Object.assign(new Error(`no answer for ${String(ms)} ms`), { code: 'ETIMEDOUT' });
}
