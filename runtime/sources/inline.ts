/**
 * Payloads that came with the submission. An object, or an array of objects, is a table whatever the format says; a text is the content of
 * a file of that format; `{ base64: "…" }` is the same for content that is no text.
 */
import { PodlineError } from '../contracts/errors.js';
import { limitRows, type Batch } from './columns.js';
import { batchRowsMax } from './csv.js';
import { isRow, JsonRowsBuilder, JsonSchema, type JsonRow } from './json-rows.js';
import { BytesSource } from './source-reader.js';
import type { ColumnWishes, TableReader } from './table-reader.js';

export type InlineContent = { rows: JsonRow[] } | { source: BytesSource };

/** Throws PDL_FORMAT_UNSUPPORTED for what is none of these. */
export function inlineContent(inline: unknown): InlineContent {
  if (typeof inline === 'string') return { source: new BytesSource('inline', Buffer.from(inline)) };
  if (isRow(inline)) {
    const { base64 } = inline;
    if (typeof base64 === 'string' && Object.keys(inline).length === 1)
      return { source: new BytesSource('inline', Buffer.from(base64, 'base64')) };
    return { rows: [inline] };
  }
  if (Array.isArray(inline) && inline.every(isRow)) return { rows: inline };
  throw new PodlineError(
    'PDL_FORMAT_UNSUPPORTED',
    `an inline payload is ${inline === null ? 'null' : Array.isArray(inline) ? 'an array with something else than objects' : typeof inline}`,
    {
      place: 'inline',
      hint: 'Give an array of objects, a text, or { base64: "…" }.',
    },
  );
}

export function openRows(rows: readonly JsonRow[], wishes: ColumnWishes, blockRows: number): TableReader {
  const found = new JsonSchema(wishes, 'inline');
  for (const row of rows) found.look(row);
  const schema = found.schema();
  const rowsMax = Math.max(Math.min(rows.length, blockRows, batchRowsMax), 1);
  async function* batches(): AsyncGenerator<Batch> {
    const builder = new JsonRowsBuilder(schema, rowsMax, 'inline', false);
    for (const row of rows) {
      builder.add(row);
      if (builder.rows === rowsMax) yield builder.take();
    }
    if (builder.rows > 0) yield builder.take();
  }
  return { schema, batches: (skipRows) => limitRows(batches(), skipRows, Number.POSITIVE_INFINITY) };
}
