/** What a writer does that finds no room: asks, and writes again where it was told to. */
import { isPodlineError } from '../contracts/errors.js';
import type { ColumnToWrite } from '../scratch/types.js';

export type RoomAnswer = 'memory' | 'ssd' | 'none';
export type AskRoom = (bytes: number) => Promise<RoomAnswer>;

/** Times that one write may be made again after room was given. */
const roomTriesMax = 5;

/**
 * Makes `write` again for as long as it throws PDL_SCRATCH_FULL and room is given; `refused` is what the first try threw. A write that
 * found no room has changed nothing.
 */
export async function writeInRoom<T>(
  refused: unknown,
  needBytes: number,
  ask: AskRoom,
  writer: { useMedium(medium: 'memory' | 'ssd'): void },
  write: () => T | Promise<T>,
): Promise<T> {
  let thrown = refused;
  for (let tries = 1; isPodlineError(thrown, 'PDL_SCRATCH_FULL') && tries <= roomTriesMax; tries++) {
    const answer = await ask(needBytes);
    if (answer === 'none') break;
    if (answer === 'ssd') writer.useMedium('ssd');
    try {
      return await write();
    } catch (again) {
      thrown = again;
    }
  }
  throw thrown;
}

/** What columns will take in the scratch, roughly: what room is asked for. */
export const bytesOf = (columns: readonly ColumnToWrite[]): number =>
  columns.reduce((sum, column) => {
    if (!('data' in column)) return sum + (column.select?.byteLength ?? 0);
    const { values, validity, offsets, dictionary, items } = column.data;
    const views = [values, validity, offsets, dictionary?.values, dictionary?.offsets, items?.values, items?.offsets];
    return views.reduce((bytes, view) => bytes + (view === undefined ? 0 : view.byteLength + 64), sum);
  }, 512);
