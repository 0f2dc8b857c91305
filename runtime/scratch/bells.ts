/**
 * The bells of a scratch: whoever makes a stream whole rings its bell, and whoever waits for it looks into the index.
 *
 * A bell is a file of one byte in the scratch's folder, made by the first who listens; some streams share one. To ring is to write that
 * byte; inotify tells all who listen, in whatever process or container of the pod: 2 µs for the one, no process in between for
 * the others.
 *
 * Invariants
 *  1. It says nothing but "look": what is true stands in the index.
 *  2. Nobody depends on it. Where a system has no inotify, or none left, whoever waits hears of it otherwise, a little later.
 */
import { closeSync, existsSync, mkdirSync, openSync, watch, writeSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from './checksum.js';

const bellsMax = 64;
const stroke = new Uint8Array(1);

export class Bells {
  readonly #dir: string;
  readonly #fds = new Map<string, number>();
  #isClosed = false;

  constructor(scratchDir: string) {
    this.#dir = join(scratchDir, 'bells');
  }

  ring(shardId: string, stream: string): void {
    if (this.#isClosed) return;
    const path = this.#pathOf(shardId, stream);
    try {
      let fd = this.#fds.get(path);
      // Nobody has listened to it so far.
      if (fd === undefined && !existsSync(path)) return;
      this.#fds.set(path, (fd ??= openSync(path, 'r+')));
      writeSync(fd, stroke, 0, 1, 0);
    } catch {
      // Whoever waits hears of it otherwise.
    }
  }

  /** Calls `listener` at each ring of one of them. Returns what ends that. */
  listen(shardId: string, streams: readonly string[], listener: () => void): () => void {
    let isOn = true;
    const rung = (): void => {
      if (isOn) listener();
    };
    const paths = new Set(streams.map((stream) => this.#pathOf(shardId, stream)));
    const watchers = [...paths].flatMap((path) => this.#watch(path, rung));
    return () => {
      if (!isOn) return;
      isOn = false;
      // Whoever has waited for this has something to do first.
      setImmediate(() => {
        for (const watcher of watchers) watcher.close();
      });
    };
  }

  /** Idempotent. */
  close(): void {
    this.#isClosed = true;
    for (const fd of this.#fds.values()) closeSync(fd);
    this.#fds.clear();
  }

  #pathOf(shardId: string, stream: string): string {
    return join(this.#dir, String(crc32(Buffer.from(`${shardId}/${stream}`)) % bellsMax));
  }

  #watch(path: string, rung: () => void): { close: () => void }[] {
    try {
      mkdirSync(this.#dir, { recursive: true });
      closeSync(openSync(path, 'a', 0o660));
      const watcher = watch(path, { persistent: false }, rung);
      watcher.on('error', () => watcher.close());
      return [watcher];
    } catch {
      return [];
    }
  }
}
