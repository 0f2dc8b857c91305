/**
 * A stretch of a text source, read by itself: the records that begin in it.
 *
 * Where the first of them begins is guessed: behind the first line break. In CSV that may lie within quotes, so that whoever puts the parts
 * together compares each start with the end of the part before, and has a part that began elsewhere read again.
 */
import type { Batch } from '../columns.js';
import { readCsv } from '../csv.js';
import { readNdjson } from '../ndjson.js';
import type { SourceReader } from '../source-reader.js';
import { TextRange, type CsvPlan, type NdjsonPlan } from '../table-reader.js';
import { recordBytesMax } from '../windows.js';
import type { DecodedPart, Part } from './messages.js';

const lf = 0x0a;
/** Read at a time behind the end of a stretch, for its last record. */
const tailBytes = 64 * 1024;

/** Where the first record of the part begins, for all that can be seen from there. */
export async function startOf(source: SourceReader, plan: CsvPlan | NdjsonPlan, part: Part): Promise<number> {
  if (part.known !== undefined) return part.known.start;
  if (part.from === plan.from) return plan.format === 'csv' ? plan.from + plan.recordsAt : plan.from;
  // The break before the first byte counts: a record may begin right there.
  for (let at = part.from - 1; at < plan.to && at - part.from < recordBytesMax;) {
    const bytes = await source.readAt(at, Math.min(at + tailBytes, plan.to));
    const found = bytes.indexOf(lf);
    if (found >= 0) return at + found + 1;
    at += bytes.length;
  }
  return plan.to;
}

export async function readTextPart(
  source: SourceReader,
  plan: CsvPlan | NdjsonPlan,
  part: Part,
  start: number,
): Promise<Omit<DecodedPart, 'bytesRead'>> {
  const before = part.known?.records ?? 0;
  const range = new TextRange(part.to - start, before);
  const batches: Batch[] = [];
  if (start >= part.to) return { batches, start, end: start, records: 0 };
  const stream = piecesOf(source, start, part.to, plan.to);
  const rows = plan.format === 'csv' ? readCsv(stream, plan, 0, range) : readNdjson(stream, plan, start === 0, range);
  for await (const batch of rows) batches.push(batch);
  return { batches, start, end: start + range.endedAt, records: range.records - before };
}

/** Bytes [from, to) and, as long as more are asked for, those behind, up to `limit`. */
async function* piecesOf(source: SourceReader, from: number, to: number, limit: number): AsyncGenerator<Buffer> {
  yield* source.stream(from, to);
  for (let at = to; at < limit; at += tailBytes) yield* source.stream(at, Math.min(at + tailBytes, limit));
}
