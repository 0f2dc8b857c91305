/**
 * The index of a scratch: an LMDB environment that agent and shims open at once. The only file here that knows LMDB.
 *
 * Owns: keys, encoding, transactions, snapshots. Leaves to others: what the records mean and which belong together.
 *
 * Invariants
 *  1. Whatever belongs together is written by one `transact`: all of it is there after a crash of the writer, or nothing.
 *  2. Values are MessagePack, each complete in itself but for the shapes that are written below and belong to the format.
 *  3. Every read outside of a transaction sees what was committed before it, by whichever process: a snapshot that
 *     LMDB keeps for the turn of the event loop would hide a commit that a message on a socket has just announced.
 *  4. No sync: the scratch does not outlive a reboot (see `mark.ts`), and a killed process takes nothing of the page cache with it.
 *  5. Nobody writes while somebody opens. LMDB's `mdb_env_open` sets the number of the last transaction back to the one that it read a
 *     moment before: a commit in between is lost, or the next one finds pages that are not its own. So both happen behind a gate:
 *     the write lock of a second environment, in which nothing is ever kept.
 *  6. No thread is ended within a transaction (`platform/uninterrupted.ts`).
 *
 * Keys are arrays: [family, shard, …]; `usage` is single.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { open, type Key, type RootDatabase } from 'lmdb';
import { Packr } from 'msgpackr';
import type { BlockRecord, RunRecord, ShardRecordInScratch, StageProgress, StreamRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { uninterrupted } from '../platform/uninterrupted.js';

export interface UsageEntry {
  usedBytes: number;
  peakBytes: number;
  spilledBytes: number;
}
/** A segment as the index has it; its path follows from `place`. */
export interface SegmentEntry {
  id: string;
  stream: string;
  place: 'dir' | 'spill';
  committedBytes: number;
  /** What it counts in the usage: committed, and what its writer has asked for ahead. */
  reservedBytes: number;
  /** An end mark, or the footer of a file, stands there: when that is `committedBytes`, the file is whole as it is. */
  endedAt?: number | undefined;
  /** Columns in it were freed: look at family `freed` before a block is committed that refers to it. */
  hasFreed?: boolean | undefined;
}

/** How far a stream has come. `digest` is that of its lineage. */
export interface TallyEntry {
  digest: string;
  sealed: boolean;
  blocks: number;
  rows: number;
  bytes: number;
}

interface Families {
  shard: { key: [shard: string]; value: ShardRecordInScratch };
  stream: { key: [shard: string, stream: string]; value: Omit<StreamRecord, keyof TallyEntry> };
  tally: { key: [shard: string, stream: string]; value: TallyEntry };
  block: { key: [shard: string, stream: string, seq: number]; value: BlockRecord };
  segment: { key: [shard: string, segment: string]; value: SegmentEntry };
  /** A block of `stream` refers to `segment`, which thereby stays. */
  ref: { key: [shard: string, segment: string, stream: string]; value: 1 };
  /** The column that has a buffer there was freed. */
  freed: { key: [shard: string, segment: string, offset: number]; value: 1 };
  /** Stretches of segments, of columns of this stream, that are marked as freed and may still hold their pages. */
  freeing: {
    key: [shard: string, stream: string];
    value: { ranges: [segment: string, ranges: { offset: number; length: number }[]][] };
  };
  run: { key: [shard: string, stage: string]; value: RunRecord };
  progress: { key: [shard: string, stage: string]; value: StageProgress };
  usage: { key: []; value: UsageEntry };
}
type Family = keyof Families;
type KeyOf<F extends Family> = Families[F]['key'];
type ValueOf<F extends Family> = Families[F]['value'];

export interface IndexReads {
  get<F extends Family>(family: F, ...key: KeyOf<F>): ValueOf<F> | undefined;
  /** Entries below a prefix in the order of their keys; blocks may be limited to seq in [from, to). */
  list<F extends Family>(
    family: F,
    prefix: readonly string[],
    from?: number,
    to?: number,
  ): { key: KeyOf<F>; value: ValueOf<F> }[];
}
export interface IndexTransaction extends IndexReads {
  put<F extends Family>(family: F, value: ValueOf<F>, ...key: KeyOf<F>): void;
  remove<F extends Family>(family: F, ...key: KeyOf<F>): void;
}

const settings = { noSync: true, encoding: 'binary', pageSize: 4096, maxReaders: 510, cache: false } as const;
const gateBytes = 1024 * 1024;
/** Address space, not memory: the file grows with its content. Room for some hundred thousand blocks. */
const mapBytes = 1024 * 1024 * 1024;
/** Pages that are made once and given free in the index, so that on a full disk there are some left to forget streams with. */
const ballastBytes = 1024 * 1024;
const noSpace = [28 /* ENOSPC */, -30792 /* MDB_MAP_FULL */, 122 /* EDQUOT */];

/**
 * Shapes of the records that every commit and every read meets, so that values need not say them and reading is five times as fast. An
 * object whose keys are others, or in another order, is written with its own.
 */
const shapes: readonly (readonly string[])[] = [
  ['segment', 'offset', 'length'],
  ['segment', 'offset', 'length', 'crc32'],
  ['name', 'type', 'nullCount', 'values'],
  ['name', 'type', 'nullCount', 'validity', 'values'],
  ['name', 'type', 'nullCount', 'offsets', 'values'],
  ['name', 'type', 'nullCount', 'validity', 'offsets', 'values'],
  ['name', 'type', 'nullCount', 'values', 'dictionary'],
  ['name', 'type', 'nullCount', 'validity', 'values', 'dictionary'],
  ['name', 'type', 'nullCount', 'values', 'selection'],
  ['name', 'type', 'nullCount', 'offsets', 'values', 'selection'],
  ['name', 'type', 'nullCount', 'values', 'dictionary', 'selection'],
  ['length', 'offsets', 'values'],
  ['rows', 'indices'],
  ['seq', 'rows', 'columns'],
  ['seq', 'rows', 'columns', 'extent'],
  ['seq', 'rows', 'columns', 'payload'],
  ['seq', 'rows', 'columns', 'payload', 'extent'],
  ['digest', 'sealed', 'blocks', 'rows', 'bytes'],
  ['id', 'stream', 'place', 'committedBytes', 'reservedBytes'],
  ['id', 'stream', 'place', 'committedBytes', 'reservedBytes', 'endedAt'],
  ['shardId', 'epoch', 'revision'],
  ['runId', 'epoch'],
  ['consumed'],
  ['usedBytes', 'peakBytes', 'spilledBytes'],
];

export class IndexStore implements IndexReads {
  readonly #gate: RootDatabase<Buffer>;
  readonly #db: RootDatabase<Buffer>;
  readonly #packr = new Packr({
    useRecords: true,
    copyBuffers: true,
    int64AsType: 'number',
    // A copy: shapes beyond them are added to it, and stand in the values themselves.
    structures: shapes.map((shape) => [...shape]),
    maxSharedStructures: shapes.length,
  });
  readonly #inside: IndexTransaction;
  #closing: Promise<void> | undefined;
  #depth = 0;

  /**
   * Why the environment in `dir` must not be opened; undefined when it may be. Looks at both meta pages (magic and version, 24 bytes
   * into a page of 4,096): LMDB's binding crashes on a file that is not its own instead of saying so.
   */
  static faultIn(dir: string): string | undefined {
    return faultOf(dir) ?? faultOf(join(dir, 'gate'));
  }

  /** Opens or creates the environment in `dir`; `faultIn` must have been asked about one that exists. */
  constructor(dir: string) {
    this.#gate = open<Buffer>({ ...settings, path: join(dir, 'gate'), mapSize: gateBytes });
    this.#db = uninterrupted(() => this.#gate.transactionSync(() => open<Buffer>({ ...settings, path: dir, mapSize: mapBytes })));
    this.#db.readerCheck();
    this.#inside = {
      get: (family, ...key) => this.#get(family, key),
      list: (family, prefix, from, to) => this.#list(family, prefix, from, to),
      put: (family, value, ...key) => {
        this.#db.putSync(keyOf(family, key), this.#packr.pack(value));
      },
      remove: (family, ...key) => {
        this.#db.removeSync(keyOf(family, key));
      },
    };
  }

  /** Puts ballast into a fresh index. */
  begin(): void {
    const ballast = ['ballast'];
    this.#db.putSync(ballast, Buffer.alloc(ballastBytes));
    this.#db.removeSync(ballast);
  }

  /**
   * Runs `action` in a write transaction, alone among all processes; when it throws, nothing is changed. Keep it short: other
   * writers wait. Throws PDL_SCRATCH_FULL when the index cannot grow.
   */
  transact<T>(action: (txn: IndexTransaction) => T): T {
    this.#checkOpen();
    this.#depth += 1;
    try {
      return uninterrupted(() => this.#gate.transactionSync(() => this.#db.transactionSync(() => action(this.#inside))));
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      if (typeof code === 'number' && noSpace.includes(code)) {
        throw new PodlineError('PDL_SCRATCH_FULL', 'there is no room for the index of the scratch', { cause: error });
      }
      throw error;
    } finally {
      this.#depth -= 1;
    }
  }

  get<F extends Family>(family: F, ...key: KeyOf<F>): ValueOf<F> | undefined {
    this.#renew();
    return this.#get(family, key);
  }

  list<F extends Family>(
    family: F,
    prefix: readonly string[],
    from?: number,
    to?: number,
  ): { key: KeyOf<F>; value: ValueOf<F> }[] {
    this.#renew();
    return this.#list(family, prefix, from, to);
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#db.close().then(() => this.#gate.close());
    return this.#closing;
  }

  #checkOpen(): void {
    if (this.#closing) throw new PodlineError('PDL_SCRATCH_CLOSED', 'the scratch is closed');
  }

  /** Invariant 3. */
  #renew(): void {
    this.#checkOpen();
    if (this.#depth === 0) this.#db.resetReadTxn();
  }

  #get<F extends Family>(family: F, key: KeyOf<F>): ValueOf<F> | undefined {
    const bytes = this.#db.getBinaryFast(keyOf(family, key));
    return bytes && this.#unpack(bytes);
  }

  #list<F extends Family>(
    family: F,
    prefix: readonly string[],
    from?: number,
    to?: number,
  ): { key: KeyOf<F>; value: ValueOf<F> }[] {
    const start = keyOf(family, from === undefined ? prefix : [...prefix, from]);
    const entries: { key: KeyOf<F>; value: ValueOf<F> }[] = [];
    for (const { key, value } of this.#db.getRange({ start, snapshot: false })) {
      const parts = key as unknown[];
      if (parts[0] !== family || prefix.some((part, index) => parts[index + 1] !== part)) break;
      if (to !== undefined && Number(parts.at(-1)) >= to) break;
      entries.push({ key: parts.slice(1) as KeyOf<F>, value: this.#unpack(value) });
    }
    return entries;
  }

  #unpack<T>(bytes: Uint8Array): T {
    return this.#packr.unpack(bytes) as T;
  }
}

const keyOf = (family: Family, key: readonly unknown[]): Key => [family, ...(key as string[])];

function faultOf(dir: string): string | undefined {
  const page = 4096;
  const head = Buffer.alloc(2 * page);
  try {
    const fd = openSync(join(dir, 'data.mdb'), 'r');
    try {
      if (readSync(fd, head, 0, head.length, 0) < head.length) return 'its index is cut off';
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    return `its index cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)})`;
  }
  return [0, page].every((at) => head.readUInt32LE(at + 24) === 0xbeefc0de && head.readUInt32LE(at + 28) === 2)
    ? undefined
    : 'its index is unreadable';
}
