/** A file of a result while it is written: appended to, hashed on the way, synced at the end. */
import { createHash, type Hash } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ResultFile } from '../contracts/shard.js';

/** Small pieces are gathered up to this. */
const gatherBytes = 1024 * 1024;

export class FileSink {
  readonly #fd: number;
  readonly #hash: Hash = createHash('sha256');
  readonly #gathered: Uint8Array[] = [];
  #gatheredBytes = 0;
  #bytes = 0;
  #closed = false;

  /** Makes the file, which must not be there, and the folders above it. Throws errno errors. */
  constructor(
    path: string,
    private readonly name: string,
  ) {
    mkdirSync(dirname(path), { recursive: true });
    this.#fd = openSync(path, 'wx');
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes the piece over: it must not be changed before the next `flush`. */
  write(piece: string | Uint8Array): void {
    const bytes = typeof piece === 'string' ? Buffer.from(piece, 'utf8') : piece;
    this.#gathered.push(bytes);
    this.#gatheredBytes += bytes.length;
    this.#bytes += bytes.length;
    if (this.#gatheredBytes >= gatherBytes) this.flush();
  }

  flush(): void {
    for (const bytes of this.#gathered.splice(0)) {
      this.#hash.update(bytes);
      for (let done = 0; done < bytes.length;) done += writeSync(this.#fd, bytes, done);
    }
    this.#gatheredBytes = 0;
  }

  /** Syncs and closes; what was written, described. */
  finish(rows?: number): ResultFile {
    this.flush();
    fsyncSync(this.#fd);
    this.abandon();
    return { name: this.name, bytes: this.#bytes, sha256: this.#hash.digest('hex'), ...(rows === undefined ? {} : { rows }) };
  }

  /** Closes without more. Idempotent. */
  abandon(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#fd);
  }
}
