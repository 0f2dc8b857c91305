/** What a place holds of a shard's streams, in the words of a resume plan: the same for a checkpoint and for the scratch. */
import type { BlockRecord, StreamRecord } from '../contracts/block.js';
import { freedColumns } from '../line/live-columns.js';
import type { HeldStream } from '../line/resume.js';

/** `consumed`: blocks of its input that the stream was made of; `bytes`: what reading it back from that place takes. */
export function heldStream(
  { stream, lineage, sealed, blocks, rows }: StreamRecord,
  records: Iterable<BlockRecord>,
  consumed: number | undefined,
  bytes: number,
): HeldStream {
  const freed = freedColumns(records);
  return {
    stream,
    lineage,
    sealed,
    blocks,
    rows,
    bytes,
    ...(consumed === undefined ? {} : { consumed }),
    ...(freed.length === 0 ? {} : { freed }),
  };
}
