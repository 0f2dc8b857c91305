/**
 * How the last process of a peer writes a result, so that it can be compared with any other: the digest of what it has, or the records.
 *
 *   bytes    `digest.txt`: `<sha256 of all bytes>  <how many>\n`
 *   numbers  `digest.txt`: a line `<sha256 of the values as they lie in a typed array>  <column>  <rows>\n` for each of the columns
 *   orders   `orders.ndjson`
 *
 * After `spanMs` ended, within `run`. For numbers and bytes the order of `add` is the order of the source.
 */
import { createHash, type Hash } from 'node:crypto';
import { join } from 'node:path';
import { FileSink } from '../../runtime/results/sink.js';
import type { NumberColumns } from './source.js';
import { numberNames, type NumberRecord } from './stages.js';

export class BytesDigest {
  readonly #hash = createHash('sha256');
  #bytes = 0;

  add(piece: Uint8Array): void {
    this.#hash.update(piece);
    this.#bytes += piece.length;
  }

  text(): string {
    return `${this.#hash.digest('hex')}  ${this.#bytes}\n`;
  }
}

export class NumbersDigest {
  readonly #hashes = new Map<string, Hash>(numberNames.map((name) => [name, createHash('sha256')]));
  #rows = 0;

  /** Columns of any names, in any order; those of the result are taken. */
  add({ rows, columns }: NumberColumns): void {
    for (const [name, hash] of this.#hashes) {
      const values = columns[name];
      if (values === undefined) throw new Error(`there is no column ${name}`);
      hash.update(new Uint8Array(values.buffer, values.byteOffset, rows * values.BYTES_PER_ELEMENT));
    }
    this.#rows += rows;
  }

  addRecords(records: readonly NumberRecord[]): void {
    const rows = records.length;
    const columns = numberNames.map((name) => {
      const values = name === 'id' ? new Int32Array(rows) : new Float64Array(rows);
      for (let row = 0; row < rows; row++) values[row] = records[row]![name];
      return [name, values] as const;
    });
    this.add({ rows, columns: Object.fromEntries(columns) });
  }

  text(): string {
    return [...this.#hashes].map(([name, hash]) => `${hash.digest('hex')}  ${name}  ${this.#rows}\n`).join('');
  }
}

/** Writes one file of a result and syncs it, as Podline's delivery does. */
export function writeResult(dir: string, name: string, content: Iterable<string | Uint8Array>): void {
  const sink = new FileSink(join(dir, name), name);
  try {
    for (const piece of content) sink.write(piece);
    sink.finish();
  } finally {
    sink.abandon();
  }
}

export const digestFile = 'digest.txt';
export const ordersFile = 'orders.ndjson';
