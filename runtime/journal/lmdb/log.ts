/**
 * The log beside LMDB: a record for each group of transitions, appended and synced before the group is answered. LMDB gets what
 * they say later, many at once; until then the log is where it is durable.
 *
 * Two files of a term take turns: one is written to, the other one is being settled, then it is written over from its beginning.
 * A file does not become shorter, so that a sync need not write where its blocks are.
 *
 *   record   u32 length of the payload · u32 CRC-32 of what follows · f64 number of the group · payload
 *
 * Invariants
 *  1. Numbers of groups go up by one from record to record. What stands behind the last record of a file is of an earlier turn, and
 *     its numbers are lower: a reader stops there, and at a record that was not written whole.
 *  2. Nobody but the writer of a term writes its files.
 *  3. Behind a record of which its writer does not know whether it is there, none is written: it breaks off. Behind one of which it knows
 *     that it is not whole, the next one takes its place.
 */
import {
  closeSync,
  constants,
  fdatasyncSync,
  fsyncSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeSync,
  writevSync,
} from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { PodlineError } from '../../contracts/errors.js';

/** Before each record. */
export const logHeaderBytes = 16;
/** What a file grows by: rarely, and not so much that the group which meets it has to wait long. */
const growthBytes = 256 * 1024;
const zeros = Buffer.alloc(growthBytes);

export interface LogRecord {
  /** Of the group. */
  commit: number;
  payload: Buffer;
}

const fileOf = (dir: string, term: number, turn: 0 | 1): string => join(dir, `log-${String(term)}-${String(turn)}`);

/** The writer's side, of one term. Files are made when they are first written to. */
export class Log {
  readonly #files: readonly [LogFile, LogFile];
  #turn: 0 | 1 = 0;
  #lastCommit = 0;
  #brokenOff: PodlineError | undefined;

  constructor(dir: string, term: number) {
    this.#files = [new LogFile(dir, fileOf(dir, term, 0)), new LogFile(dir, fileOf(dir, term, 1))];
  }

  get files(): string[] {
    return this.#files.map(({ path }) => path);
  }

  /** Bytes since the last turn. */
  get bytes(): number {
    return this.#files[this.#turn].bytes;
  }

  /** Of the record that was written last. */
  get lastCommit(): number {
    return this.#lastCommit;
  }

  /** On disk when it returns. When it throws and has not broken off, the next record takes its place: a full disk may have room again. */
  append(commit: number, payload: Uint8Array): void {
    if (this.#brokenOff !== undefined) throw this.#brokenOff;
    const file = this.#files[this.#turn];
    file.write(commit, payload);
    try {
      file.sync();
    } catch (thrown) {
      throw this.breakOff(thrown);
    }
    this.#lastCommit = commit;
  }

  /** The last record may be there, although it is not answered. Answers what every append throws from here on. */
  breakOff(why: unknown): PodlineError {
    const file = this.#files[this.#turn].path;
    return (this.#brokenOff ??= new PodlineError('PDL_JOURNAL', `the log broke off in ${file}: ${String(why)}`, {
      hint: 'Look after the disk, then start the coordinator anew: it reads what is there.',
      cause: why,
    }));
  }

  get hasBrokenOff(): boolean {
    return this.#brokenOff !== undefined;
  }

  /** The other file is written to from here on. Answers the one that is whole now. */
  turn(): string {
    const { path } = this.#files[this.#turn];
    this.#turn = this.#turn === 0 ? 1 : 0;
    this.#files[this.#turn].rewind();
    return path;
  }

  close(): void {
    for (const file of this.#files) file.close();
  }
}

class LogFile {
  readonly #header = Buffer.alloc(logHeaderBytes);
  #handle: number | undefined;
  #end = 0;
  #written = 0;
  #allocated = 0;

  constructor(
    private readonly dir: string,
    readonly path: string,
  ) {}

  get bytes(): number {
    return this.#end;
  }

  /** Behind what is synced. */
  write(commit: number, payload: Uint8Array): void {
    const handle = (this.#handle ??= this.#make());
    const end = this.#end + logHeaderBytes + payload.length;
    while (this.#allocated < end) this.#allocated += writeSync(handle, zeros, 0, growthBytes, this.#allocated);
    const header = this.#header;
    header.writeUInt32LE(payload.length, 0);
    header.writeDoubleLE(commit, 8);
    header.writeUInt32LE(crc32(payload, crc32(header.subarray(8))), 4);
    const written = writevSync(handle, [header, payload], this.#end);
    if (written !== logHeaderBytes + payload.length)
      throw new Error(`${this.path}: ${String(written)} bytes were written, and no more`);
    this.#written = end;
  }

  sync(): void {
    if (this.#handle !== undefined) fdatasyncSync(this.#handle);
    this.#end = this.#written;
  }

  rewind(): void {
    this.#end = 0;
  }

  close(): void {
    if (this.#handle !== undefined) closeSync(this.#handle);
    this.#handle = undefined;
  }

  #make(): number {
    const handle = openSync(this.path, constants.O_CREAT | constants.O_WRONLY, 0o600);
    syncFolder(this.dir);
    return handle;
  }
}

/**
 * Records of a file, the first one of any number, up to one that is not whole or of an earlier turn. Throws PDL_JOURNAL when one
 * is damaged that was once whole: it was synced before the next one was written.
 */
export function* readLog(path: string): Generator<LogRecord, void, undefined> {
  const bytes = readFileSync(path);
  let record = recordAt(bytes, 0);
  for (let at = 0; record !== undefined;) {
    yield record;
    at += logHeaderBytes + record.payload.length;
    const next = recordAt(bytes, at);
    if (next === undefined && lengthAt(bytes, at) !== undefined) {
      const behind = recordAt(bytes, at + logHeaderBytes + (lengthAt(bytes, at) ?? 0));
      if (behind?.commit === record.commit + 2) throw damaged(path, record.commit + 1);
    }
    record = next?.commit === record.commit + 1 ? next : undefined;
  }
}

export const damaged = (place: string, commit: number): PodlineError =>
  new PodlineError('PDL_JOURNAL', `group ${String(commit)} of the log is damaged or missing, and later ones are there`, {
    place,
    hint: 'The disk lost what it had said to keep. Restore the folder of the journal, or remove its log files and lose what they say.',
    retry: 'never',
  });

/** Undefined where no record is whole. */
function recordAt(bytes: Buffer, at: number): LogRecord | undefined {
  const length = lengthAt(bytes, at);
  if (length === undefined) return undefined;
  const end = at + logHeaderBytes + length;
  if (crc32(bytes.subarray(at + 8, end)) !== bytes.readUInt32LE(at + 4)) return undefined;
  return { commit: bytes.readDoubleLE(at + 8), payload: bytes.subarray(at + logHeaderBytes, end) };
}

/** Of the payload. Undefined where no file of this size can hold it. */
function lengthAt(bytes: Buffer, at: number): number | undefined {
  if (at + logHeaderBytes > bytes.length) return undefined;
  const length = bytes.readUInt32LE(at);
  return at + logHeaderBytes + length > bytes.length ? undefined : length;
}

/** Files of the logs in a folder, of whatever term. */
export const logFiles = (dir: string): string[] =>
  readdirSync(dir)
    .filter((name) => /^log-\d+-[01]$/.test(name))
    .map((name) => join(dir, name));

export function removeLogs(dir: string, files: readonly string[]): void {
  for (const file of files) rmSync(file, { force: true });
  if (files.length > 0) syncFolder(dir);
}

function syncFolder(dir: string): void {
  const handle = openSync(dir, constants.O_RDONLY);
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
