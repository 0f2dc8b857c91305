/**
 * Streams in the index: what they are (`stream`), and how far they have come (`tally`), which alone every commit reads and writes.
 */
import type { Lineage, RunRecord, StreamRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { IndexReads, IndexTransaction, TallyEntry } from './index-store.js';

type Gets = Pick<IndexReads, 'get'>;

export function getStream(index: Gets, shardId: string, stream: string): StreamRecord | undefined {
  const tally = index.get('tally', shardId, stream);
  const record = tally && index.get('stream', shardId, stream);
  return record && whole(record, tally);
}

export function listStreams(index: IndexReads, shardId: string): StreamRecord[] {
  return index.list('stream', [shardId]).flatMap(({ key, value }) => {
    const tally = index.get('tally', ...key);
    return tally ? [whole(value, tally)] : [];
  });
}

export function putStream(txn: IndexTransaction, shardId: string, record: StreamRecord): void {
  const { sealed, blocks, rows, bytes, ...what } = record;
  txn.put('stream', what, shardId, record.stream);
  txn.put('tally', { digest: record.lineage.digest, sealed, blocks, rows, bytes }, shardId, record.stream);
}

const whole = (record: Omit<StreamRecord, keyof TallyEntry>, { digest: _, ...tally }: TallyEntry): StreamRecord => ({
  ...record,
  ...tally,
});

/** Throws PDL_RUN_FENCED unless `run` is the current one of the stage, under the shard's present epoch. */
export function checkRun(index: Gets, shardId: string, stage: string, run: RunRecord): void {
  const place = `${shardId}/${stage}`;
  const shard = index.get('shard', shardId);
  if (!shard)
    throw new PodlineError('PDL_RUN_FENCED', `run ${run.runId} of \`${stage}\`: the shard is no longer in the scratch`, {
      place,
    });
  if (run.epoch < shard.epoch) {
    throw new PodlineError(
      'PDL_RUN_FENCED',
      `run ${run.runId} of \`${stage}\` is of epoch ${String(run.epoch)}, the shard is in ${String(shard.epoch)}`,
      { place },
    );
  }
  const current = index.get('run', shardId, stage);
  if (current?.runId !== run.runId) {
    throw new PodlineError(
      'PDL_RUN_FENCED',
      `run ${run.runId} of \`${stage}\` is not the current one, which is ${current?.runId ?? 'none'}`,
      { place },
    );
  }
}

/** Throws PDL_RUN_FENCED unless the stream that a writer was opened for is there and takes blocks; `blocks`, if given, are all it has. */
export function checkStream(
  index: Gets,
  { shardId, stream, lineage }: { shardId: string; stream: string; lineage: Lineage },
  blocks?: number,
): TallyEntry {
  const tally = index.get('tally', shardId, stream);
  const fault = !tally
    ? 'was dropped'
    : tally.digest !== lineage.digest || tally.blocks !== (blocks ?? tally.blocks)
      ? 'was written by another'
      : tally.sealed
        ? 'is sealed'
        : undefined;
  if (!tally || fault) {
    throw new PodlineError('PDL_RUN_FENCED', `stream \`${stream}\` ${fault ?? ''} while a writer had it open`, {
      place: `${shardId}/${stream}`,
    });
  }
  return tally;
}
