/**
 * Gives back the bytes of columns that nothing to come reads: whole pages by punching holes, what is left of them at both ends by zeros.
 *
 * Invariants
 *  1. Bytes go only after every block that refers to them says so (`ColumnRef.freed`), and after the index keeps blocks that are yet
 *     to be committed from referring to them unmarked (family `freed`).
 *  2. The checksum of an extent is that of what the file holds after it: computed from the bytes that go, without a look at others.
 *  3. What was begun is written down (family `freeing`) until the pages are gone and accounted for; an owner that dies in between
 *     leaves it to the next.
 *  4. A byte that a column which lives refers to is never touched, whatever program laid the file out.
 */
import { closeSync, openSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import type { BlockRecord, BufferRef, ColumnRef } from '../contracts/block.js';
import { pageBytes, reserve, wholePages } from './accounts.js';
import { crc32OfZeros, crc32Replaced } from './checksum.js';
import type { IndexStore, IndexTransaction, SegmentEntry } from './index-store.js';
import { loadNative, type NativeFunctions } from './native.js';
import { checksumRangeNow, writePieces } from './positioned.js';
import type { SegmentFiles } from './segment-files.js';
import { getStream, putStream } from './streams.js';
import { eachBuffer, eachBufferOf } from './table-block.js';

export interface FreePlace {
  index: IndexStore;
  files: SegmentFiles;
  shardId: string;
}

type Range = Pick<BufferRef, 'offset' | 'length'>;

/** The columns' own bytes in the stream's own segments. Returns the bytes given back in `dir`. */
export async function freeColumns(place: FreePlace, stream: string, names: readonly string[]): Promise<number> {
  const native = loadNative().functions;
  const { index, shardId } = place;
  const blocks = index.list('block', [shardId, stream]).map(({ value }) => value);
  const wanted = new Set(names);
  const own = new Set(
    index
      .list('segment', [shardId])
      .filter(({ value }) => value.stream === stream)
      .map(({ key }) => key[1]),
  );
  const dead = new Set<string>();
  for (const block of blocks) {
    for (const column of block.columns) {
      const key = keyOf(column);
      if (wanted.has(column.name) && !column.freed && key && own.has(key.segment)) dead.add(nameOf(key));
    }
  }
  if (!native || dead.size === 0) return 0;
  const segments = [...own].filter((id) => canPunch(place, native, id));
  const referring = referringStreams(place, segments);
  const ranges = deadRanges(segments, referring, dead);
  const checksums = await checksumsWithout(place, blocks, ranges);
  index.transact((txn) => {
    txn.put('freeing', { ranges: [...ranges] }, shardId, stream);
    mark(txn, place, stream, wanted, dead, ranges, checksums);
  });
  return finishFreeing(place, stream);
}

/** Carries out what `freeing` says of a stream: after it was written down, or by the next owner. Idempotent until it is forgotten. */
export function finishFreeing({ index, files, shardId }: FreePlace, stream: string): number {
  const freeing = index.get('freeing', shardId, stream);
  const native = loadNative().functions;
  if (!freeing || !native) return 0;
  const given = new Map<string, number>();
  for (const [id, ranges] of freeing.ranges) {
    const entry = index.get('segment', shardId, id);
    if (entry) given.set(id, punch(native, files.path(shardId, entry), ranges));
  }
  return index.transact((txn) => {
    let freedBytes = 0;
    for (const [id, bytes] of given) {
      const entry = txn.get('segment', shardId, id);
      if (!entry) continue;
      reserve(txn, shardId, entry, Math.max(0, entry.reservedBytes - bytes), Number.MAX_SAFE_INTEGER);
      if (entry.place === 'dir') freedBytes += bytes;
    }
    txn.remove('freeing', shardId, stream);
    return freedBytes;
  });
}

/** Marks the columns of a block that is about to be committed whose bytes were freed since they were looked up. */
export function markFreed(txn: IndexTransaction, shardId: string, column: ColumnRef): ColumnRef {
  const key = column.freed ? undefined : keyOf(column);
  return key && txn.get('freed', shardId, key.segment, key.offset) ? { ...column, freed: true } : column;
}

/** Takes up the marks of blocks that were restored: their pages hold zeros, and are given back by `finishFreeing`. */
export function noteFreed(
  txn: IndexTransaction,
  shardId: string,
  stream: string,
  blocks: readonly BlockRecord[],
  segments: readonly SegmentEntry[],
): void {
  const dead = new Set<string>();
  const ids = new Set(segments.map(({ id }) => id));
  for (const { columns } of blocks) {
    for (const column of columns) {
      const key = column.freed && keyOf(column);
      if (!key || !ids.has(key.segment)) continue;
      dead.add(nameOf(key));
      txn.put('freed', 1, shardId, key.segment, key.offset);
    }
  }
  if (dead.size === 0) return;
  const ranges = deadRanges([...ids], blocks, dead);
  for (const segment of segments) txn.put('segment', { ...segment, hasFreed: true }, shardId, segment.id);
  txn.put('freeing', { ranges: [...ranges] }, shardId, stream);
}

/** A buffer with bytes, by which a column is known: no other column has it. Undefined when it has none at all. */
export function keyOf(column: ColumnRef): BufferRef | undefined {
  let key: BufferRef | undefined;
  eachBufferOf(column, (buffer) => {
    if (buffer.length > 0) key ??= buffer;
  });
  return key;
}
const nameOf = ({ segment, offset }: BufferRef): string => `${segment}:${String(offset)}`;

function canPunch({ index, files, shardId }: FreePlace, native: NativeFunctions, id: string): boolean {
  const entry = index.get('segment', shardId, id);
  if (!entry || entry.committedBytes === 0) return false;
  const fd = openSync(files.path(shardId, entry), 'r+');
  try {
    // Behind the end of the file there is nothing to lose, and the file system says whether it can.
    native.punchHole(fd, wholePages(entry.reservedBytes + entry.committedBytes) + pageBytes, pageBytes);
    return true;
  } catch {
    return false;
  } finally {
    closeSync(fd);
  }
}

/** Blocks of all streams that refer to any of the segments. */
function referringStreams({ index, shardId }: FreePlace, segments: readonly string[]): BlockRecord[] {
  const streams = new Set(segments.flatMap((id) => index.list('ref', [shardId, id]).map(({ key }) => key[2])));
  return [...streams].flatMap((stream) => index.list('block', [shardId, stream]).map(({ value }) => value));
}

/** By segment: the stretches of dead columns that touch no stretch of a living one, in order. */
function deadRanges(
  segments: readonly string[],
  blocks: readonly BlockRecord[],
  dead: ReadonlySet<string>,
): Map<string, Range[]> {
  const going = new Map(segments.map((id) => [id, new Map<number, Range>()]));
  const living = new Map(segments.map((id) => [id, new Map<number, Range>()]));
  const put = (into: Map<string, Map<number, Range>>, { segment, offset, length }: BufferRef): void => {
    const ranges = into.get(segment);
    if (ranges && length > (ranges.get(offset)?.length ?? 0)) ranges.set(offset, { offset, length });
  };
  for (const block of blocks) {
    eachBuffer({ ...block, columns: [], extent: undefined }, (buffer) => put(living, buffer));
    for (const column of block.columns) {
      const key = keyOf(column);
      const isDead = key !== undefined && dead.has(nameOf(key));
      if (column.freed && !isDead) continue;
      eachBufferOf(column, (buffer) => put(isDead ? going : living, buffer));
      if (column.selection) put(living, column.selection.indices);
    }
  }
  return new Map(segments.map((id) => [id, apart(inOrder(going.get(id)), inOrder(living.get(id)))]));
}

const inOrder = (ranges: Map<number, Range> | undefined): Range[] =>
  [...(ranges?.values() ?? [])].toSorted((one, other) => one.offset - other.offset);

/** Those of `ranges` that overlap none of `others`; both in order. */
function apart(ranges: readonly Range[], others: readonly Range[]): Range[] {
  let next = 0;
  let reach = 0;
  return ranges.filter(({ offset, length }) => {
    for (let other = others[next]; other && other.offset < offset + length; other = others[++next])
      reach = Math.max(reach, other.offset + other.length);
    return reach <= offset;
  });
}

/** Invariant 2: new checksums by number of the block. The dead bytes are read, a block at a time between other work. */
async function checksumsWithout(
  { index, files, shardId }: FreePlace,
  blocks: readonly BlockRecord[],
  ranges: ReadonlyMap<string, Range[]>,
): Promise<Map<number, number>> {
  const checksums = new Map<number, number>();
  const fds = new Map<string, number>();
  try {
    for (const { seq, extent } of blocks) {
      const inside = extent && within(ranges.get(extent.segment) ?? [], extent);
      if (!extent || !inside || inside.length === 0) continue;
      let fd = fds.get(extent.segment);
      if (fd === undefined) {
        const entry = index.get('segment', shardId, extent.segment);
        if (!entry) continue;
        fd = openSync(files.path(shardId, entry), 'r');
        fds.set(extent.segment, fd);
      }
      let { crc32 } = extent;
      for (const { offset, length } of inside) {
        const behind = extent.offset + extent.length - offset - length;
        crc32 = crc32Replaced(crc32, checksumRangeNow(fd, offset, length), crc32OfZeros(length), behind);
      }
      checksums.set(seq, crc32);
      await setImmediate();
    }
    return checksums;
  } finally {
    for (const fd of fds.values()) closeSync(fd);
  }
}

/** The ranges that lie in an extent, found by halving: extents and ranges are in order. */
function within(ranges: readonly Range[], extent: BufferRef): Range[] {
  let low = 0;
  for (let high = ranges.length; low < high;) {
    const middle = (low + high) >> 1;
    if ((ranges[middle]?.offset ?? 0) < extent.offset) low = middle + 1;
    else high = middle;
  }
  const end = extent.offset + extent.length;
  const inside: Range[] = [];
  for (let range = ranges[low]; range && range.offset + range.length <= end; range = ranges[++low]) inside.push(range);
  return inside;
}

/** Invariant 1, in one transaction with the new checksums. */
function mark(
  txn: IndexTransaction,
  { shardId }: FreePlace,
  stream: string,
  names: ReadonlySet<string>,
  dead: ReadonlySet<string>,
  ranges: ReadonlyMap<string, Range[]>,
  checksums: ReadonlyMap<number, number>,
): void {
  const streams = new Set([...ranges.keys()].flatMap((id) => txn.list('ref', [shardId, id]).map(({ key }) => key[2])));
  for (const name of streams) {
    for (const { key, value: block } of txn.list('block', [shardId, name])) {
      const crc32 = name === stream ? checksums.get(block.seq) : undefined;
      let changed = crc32 !== undefined;
      const columns = block.columns.map((column): ColumnRef => {
        const known = keyOf(column);
        if (column.freed || !known || !dead.has(nameOf(known))) return column;
        changed = true;
        if (name === stream) txn.put('freed', 1, shardId, known.segment, known.offset);
        return { ...column, freed: true };
      });
      const extent = block.extent && crc32 !== undefined ? { ...block.extent, crc32 } : block.extent;
      if (changed) txn.put('block', { ...block, columns, ...(extent && { extent }) }, ...key);
    }
  }
  for (const id of ranges.keys()) {
    const entry = txn.get('segment', shardId, id);
    if (entry) txn.put('segment', { ...entry, hasFreed: true }, shardId, id);
  }
  const record = getStream(txn, shardId, stream);
  if (!record) return;
  const own = record.schema.map(({ name }) => name).filter((name) => names.has(name));
  putStream(txn, shardId, { ...record, freed: [...new Set([...(record.freed ?? []), ...own])] });
}

/** Zeros in place of the ranges; returns the bytes of the pages that were given back. */
function punch(native: NativeFunctions, path: string, ranges: readonly Range[]): number {
  const fd = openSync(path, 'r+');
  try {
    let freedBytes = 0;
    for (const { offset, length } of ranges) {
      const end = offset + length;
      const from = Math.min(wholePages(offset), end);
      const to = Math.max(Math.floor(end / pageBytes) * pageBytes, from);
      if (from > offset) writePieces(fd, [new Uint8Array(from - offset)], offset);
      if (to > from) freedBytes += punchPages(native, fd, from, to - from);
      if (end > to) writePieces(fd, [new Uint8Array(end - to)], to);
    }
    return freedBytes;
  } finally {
    closeSync(fd);
  }
}

function punchPages(native: NativeFunctions, fd: number, offset: number, length: number): number {
  try {
    native.punchHole(fd, offset, length);
    return length;
  } catch {
    // It was restored to, or spilled to, a file system without holes: zeros then, which keep their room.
    const zeros = new Uint8Array(Math.min(length, 1024 * 1024));
    for (let done = 0; done < length; done += zeros.length)
      writePieces(fd, [zeros.subarray(0, Math.min(zeros.length, length - done))], offset + done);
    return 0;
  }
}
