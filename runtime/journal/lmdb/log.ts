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

const headerBytes = 16;
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

  /** On disk when it returns; when it throws, the next record takes its place. */
  append(commit: number, payload: Uint8Array): void {
    this.#files[this.#turn].append(commit, payload);
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
  readonly #header = Buffer.alloc(headerBytes);
  #handle: number | undefined;
  #end = 0;
  #allocated = 0;

  constructor(
    private readonly dir: string,
    readonly path: string,
  ) {}

  get bytes(): number {
    return this.#end;
  }

  append(commit: number, payload: Uint8Array): void {
    const handle = (this.#handle ??= this.#make());
    const end = this.#end + headerBytes + payload.length;
    while (this.#allocated < end) this.#allocated += writeSync(handle, zeros, 0, growthBytes, this.#allocated);
    const header = this.#header;
    header.writeUInt32LE(payload.length, 0);
    header.writeDoubleLE(commit, 8);
    header.writeUInt32LE(crc32(payload, crc32(header.subarray(8))), 4);
    const written = writevSync(handle, [header, payload], this.#end);
    if (written !== headerBytes + payload.length)
      throw new Error(`${this.path}: ${String(written)} bytes were written, and no more`);
    fdatasyncSync(handle);
    this.#end = end;
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

/** Records of a file, the first one of any number. */
export function* readLog(path: string): Generator<LogRecord, void, undefined> {
  const bytes = readFileSync(path);
  let commit: number | undefined;
  for (let at = 0; at + headerBytes <= bytes.length;) {
    const end = at + headerBytes + bytes.readUInt32LE(at);
    const number = bytes.readDoubleLE(at + 8);
    if (end > bytes.length || (commit !== undefined && number !== commit + 1)) return;
    if (crc32(bytes.subarray(at + 8, end)) !== bytes.readUInt32LE(at + 4)) return;
    commit = number;
    yield { commit, payload: bytes.subarray(at + headerBytes, end) };
    at = end;
  }
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
