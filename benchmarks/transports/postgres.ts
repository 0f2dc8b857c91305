/**
 * Values as `bytea` in PostgreSQL, by COPY in its binary format both ways: the fastest way in and out that the server has, without the
 * hexadecimal text of ordinary parameters and results.
 */
import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import { Readable, setDefaultHighWaterMark } from 'node:stream';
import postgres from 'postgres';
import type { BlockStore } from './store-stage.js';

/** Signature, flags, length of an extension. */
const copyHead = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)]);
const copyTrailer = Buffer.from([0xff, 0xff]);
/** Of a row with one field: number of fields, length of the field. */
const rowHeadBytes = 6;

export class PostgresStore implements BlockStore {
  readonly #into: Turns;
  readonly #from: Turns;

  /** `dir`: where the server's unix socket lies. */
  constructor(dir: string, user: string) {
    setDefaultHighWaterMark(false, heldBytesMax);
    const connect = (): postgres.Sql =>
      postgres({ host: dir, username: user, database: 'postgres', max: 1, idle_timeout: 0, onnotice: () => undefined });
    this.#into = new Turns(connect());
    this.#from = new Turns(connect());
  }

  put(key: string, pieces: readonly Uint8Array[]): Promise<void> {
    return this.#into.take(async (sql) => {
      const into = await sql`COPY blocks (key, value) FROM STDIN (FORMAT binary)`.writable();
      const bytes = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
      await pipeline(Readable.from([copyHead, rowOf(key, bytes), ...pieces, copyTrailer]), into);
    });
  }

  get(key: string): Promise<Buffer> {
    return this.#from.take(async (sql) => {
      const text = `COPY (SELECT value FROM blocks WHERE key = ${quoted(key)}) TO STDOUT (FORMAT binary)`;
      const from = await sql.unsafe(text).readable();
      const value = new RowReader();
      from.on('data', (piece: Buffer) => value.push(piece));
      await once(from, 'end');
      return value.take(key);
    });
  }

  async remove(keys: readonly string[]): Promise<void> {
    if (keys.length > 0) await this.#into.take((sql) => sql`TRUNCATE blocks`);
  }

  async close(): Promise<void> {
    await Promise.all([this.#into.close(), this.#from.close()]);
  }
}

/** A connection whose queries wait for each other: the client would send the next one into a COPY that is still going on. */
class Turns {
  #last: Promise<unknown> = Promise.resolve();

  constructor(private readonly sql: postgres.Sql) {}

  take<T>(use: (sql: postgres.Sql) => PromiseLike<T>): Promise<T> {
    const turn = this.#last.then(() => use(this.sql));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  close(): Promise<void> {
    return this.sql.end({ timeout: 1 });
  }
}

/**
 * Of any stream of this process: more than a value has. The client pauses its socket when a COPY fills the stream that it gives, and
 * never resumes it when the COPY ended with the same piece.
 */
const heldBytesMax = 64 * 1024 * 1024;

const quoted = (key: string): string => `'${key.replaceAll("'", "''")}'`;

/** A row of two fields, up to the bytes of the second. */
function rowOf(key: string, bytes: number): Buffer {
  const name = Buffer.from(key);
  const row = Buffer.alloc(2 + 4 + name.length + 4);
  row.writeInt16BE(2, 0);
  row.writeInt32BE(name.length, 2);
  name.copy(row, rowHeadBytes);
  row.writeInt32BE(bytes, rowHeadBytes + name.length);
  return row;
}

/** The one field of the one row of a COPY, put together from whatever pieces it comes in. */
class RowReader {
  #head: Buffer = Buffer.alloc(0);
  #value: Buffer | undefined;
  #held = 0;

  push(given: Buffer): void {
    let piece = given;
    if (this.#value === undefined) {
      this.#head = Buffer.concat([this.#head, piece]);
      const at = copyHead.length + rowHeadBytes;
      if (this.#head.length < at || this.#head.readInt16BE(copyHead.length) !== 1) return;
      this.#value = Buffer.from(new ArrayBuffer(this.#head.readInt32BE(copyHead.length + 2)));
      piece = this.#head.subarray(at);
    }
    this.#held += piece.copy(this.#value, this.#held);
  }

  take(key: string): Buffer {
    if (this.#value === undefined || this.#held < this.#value.length) throw new Error(`postgres holds no ${key}`);
    return this.#value;
  }
}
