/** Values as files in a folder: what functions on one node with a disk between them would do. Nothing is synced. */
import { mkdirSync, openSync, closeSync, writevSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlockStore } from './store-stage.js';

export class FileStore implements BlockStore {
  constructor(private readonly dir: string) {
    mkdirSync(dir, { recursive: true });
  }

  /** Synchronous: a write into the page cache is a copy, and a hop over the thread pool would only add to it. */
  async put(key: string, pieces: readonly Uint8Array[]): Promise<void> {
    const file = openSync(this.#pathOf(key), 'wx');
    try {
      writeAll(file, pieces);
    } finally {
      closeSync(file);
    }
  }

  async get(key: string): Promise<Buffer> {
    const file = await open(this.#pathOf(key), 'r');
    try {
      const { size } = await file.stat();
      const value = Buffer.from(new ArrayBuffer(size));
      for (let at = 0; at < size;) {
        const { bytesRead } = await file.read(value, at, size - at, at);
        if (bytesRead === 0) throw new Error(`the value ${key} was cut off`);
        at += bytesRead;
      }
      return value;
    } finally {
      await file.close();
    }
  }

  async remove(keys: readonly string[]): Promise<void> {
    for (const key of keys) await rm(this.#pathOf(key), { force: true });
  }

  close(): void {
    // Files are opened for one value each.
  }

  #pathOf(key: string): string {
    return join(this.dir, encodeURIComponent(key));
  }
}

/** All of the pieces, also where the kernel takes only a part at once. */
export function writeAll(file: number, pieces: readonly Uint8Array[]): void {
  let left = pieces.filter(({ byteLength }) => byteLength > 0);
  while (left.length > 0) {
    // IOV_MAX
    let written = writevSync(file, left.slice(0, 1024));
    let whole = 0;
    while (whole < left.length && written >= left[whole]!.byteLength) written -= left[whole++]!.byteLength;
    left = left.slice(whole);
    if (written > 0) left = [left[0]!.subarray(written), ...left.slice(1)];
  }
}
