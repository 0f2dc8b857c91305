/** Whether a stream lies in one file that another program can read as it is. */
import type { ColumnRef } from '../contracts/block.js';
import { arrowContainer } from './arrow/walk.js';
import { eachBufferOf } from './table-block.js';
import type { Scratch } from './types.js';

/**
 * The one segment that holds a sealed table stream whole: all its columns and blocks and an end, so that it may be handed to any reader
 * of Arrow IPC (`stream`: `ipc.open_stream`; `file`, after an adoption: `ipc.open_file`). Undefined when it is spread over several
 * segments, takes columns by reference, or lost some: write it out with `writeArrowFile` then.
 */
export function wholeArrowSegment(
  scratch: Scratch,
  shardId: string,
  stream: string,
): { path: string; container: 'file' | 'stream' } | undefined {
  const record = scratch.stream(shardId, stream);
  if (record?.kind !== 'table' || !record.sealed || record.blocks === 0) return undefined;
  const blocks = scratch.blocks(shardId, stream);
  const id = blocks[0]?.extent?.segment;
  const segment = scratch.segments(shardId).find((candidate) => candidate.id === id);
  if (!segment?.ended) return undefined;
  const inside = (column: ColumnRef): boolean => {
    let outside = column.selection !== undefined || column.freed === true;
    eachBufferOf(column, ({ segment: lies }) => (outside ||= lies !== id));
    return !outside;
  };
  // A block without an extent repeats columns of another: the file would lack its rows.
  if (!blocks.every((block) => block.extent?.segment === id && block.columns.every(inside))) return undefined;
  return { path: segment.path, container: arrowContainer(segment.path) };
}
