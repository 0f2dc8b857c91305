/**
 * Whose bytes count and whose segments stay: the rules of the index, as functions of a transaction. No files here.
 *
 * Invariants
 *  1. usage.usedBytes = sum of reservedBytes over the segments in `dir`; spilledBytes = the same over those in `spillDir`.
 *  2. usedBytes never passes the bound; who wants more asks before writing.
 *  3. A segment stays while a block of any stream refers to it (`ref`), or while its writer has not committed to it yet.
 */
import { alignUp } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { IndexTransaction, SegmentEntry, UsageEntry } from './index-store.js';

/** tmpfs gives memory in pages, so that is how it is counted. */
export const pageBytes = 4096;
export const wholePages = (bytes: number): number => alignUp(bytes, pageBytes);

export const noUsage: UsageEntry = { usedBytes: 0, peakBytes: 0, spilledBytes: 0 };

/** Sets what a segment reserves (0 to forget it) and keeps the usage in step. Throws PDL_SCRATCH_FULL over the bound. */
export function reserve(
  txn: IndexTransaction,
  shardId: string,
  segment: SegmentEntry,
  reservedBytes: number,
  sizeBytesMax: number,
): SegmentEntry {
  const usage = txn.get('usage') ?? noUsage;
  const by = reservedBytes - segment.reservedBytes;
  const changed = { ...segment, reservedBytes };
  if (segment.place === 'spill') {
    txn.put('usage', { ...usage, spilledBytes: usage.spilledBytes + by });
  } else {
    const usedBytes = usage.usedBytes + by;
    if (by > 0 && usedBytes > sizeBytesMax) {
      throw new PodlineError(
        'PDL_SCRATCH_FULL',
        `the scratch holds ${String(usage.usedBytes)} of ${String(sizeBytesMax)} bytes: ${String(by)} more for stream \`${segment.stream}\` do not fit`,
        { place: `${shardId}/${segment.id}` },
      );
    }
    txn.put('usage', { ...usage, usedBytes, peakBytes: Math.max(usage.peakBytes, usedBytes) });
  }
  txn.put('segment', changed, shardId, segment.id);
  return changed;
}

/** Forgets a segment; its file is the caller's to remove, after the transaction. */
export function forgetSegment(txn: IndexTransaction, shardId: string, segment: SegmentEntry): void {
  reserve(txn, shardId, segment, 0, Number.MAX_SAFE_INTEGER);
  txn.remove('segment', shardId, segment.id);
  if (segment.hasFreed) for (const { key } of txn.list('freed', [shardId, segment.id])) txn.remove('freed', ...key);
}

/** Forgets a stream, its blocks and progress. Returns the segments that nothing refers to any more, whose files may go. */
export function forgetStream(txn: IndexTransaction, shardId: string, stream: string): SegmentEntry[] {
  for (const { key } of txn.list('block', [shardId, stream])) txn.remove('block', ...key);
  txn.remove('stream', shardId, stream);
  txn.remove('tally', shardId, stream);
  txn.remove('progress', shardId, stream);
  txn.remove('freeing', shardId, stream);
  const kept = new Set<string>();
  for (const { key } of txn.list('ref', [shardId])) {
    if (key[2] === stream) txn.remove('ref', ...key);
    else kept.add(key[1]);
  }
  const freed: SegmentEntry[] = [];
  for (const { value: segment } of txn.list('segment', [shardId])) {
    // One without any reference that belongs to another stream has been made by a writer that is about to commit to it.
    if (kept.has(segment.id) || (segment.stream !== stream && segment.committedBytes === 0)) continue;
    forgetSegment(txn, shardId, segment);
    freed.push(segment);
  }
  return freed;
}
