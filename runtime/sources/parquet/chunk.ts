/**
 * Decodes one column chunk of a parquet file into one Arrow column.
 *
 * Pages are decompressed one at a time. Dictionary-encoded numbers are converted once per dictionary value and then
 * gathered by code, by width and not by type: a gather is four loops (1, 2, 4, 8 bytes) that the JIT keeps monomorphic.
 *
 * Invariants
 *  1. Rows [from, to) of the row group come out, in order, or the call throws; pages before are not decompressed.
 *  2. A value that does not fit its type is told with row, column and value, if it is among those rows.
 */
import { isUtf8 } from 'node:buffer';
import type { Encoding } from 'hyparquet';
import { PodlineError } from '../../contracts/errors.js';
import type { ColumnData } from '../../scratch/types.js';
import { sliceColumn } from '../columns.js';
import { decodePresence, type Presence } from './hybrid.js';
import { decodeLists } from './lists.js';
import { dataPages, decompress } from './pages.js';
import { notText, type ChunkRequest } from './request.js';
import { ColumnSink } from './sink.js';

export function decodeChunk(request: ChunkRequest): ColumnData {
  try {
    return decode(request);
  } catch (thrown) {
    if (thrown instanceof PodlineError) throw thrown;
    throw new PodlineError(
      'PDL_SOURCE_UNREADABLE',
      `column "${request.column.name}" of ${request.name}, rows ${String(request.groupStart)} to ${String(request.groupStart + request.groupRows)}, cannot be decoded: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
      { place: request.name, cause: thrown },
    );
  }
}

function decode(request: ChunkRequest): ColumnData {
  if (request.column.list !== undefined) return decodeLists(request);
  const { groupRows, from, to } = request;
  let sink: ColumnSink | undefined;
  let sinkStart = 0;
  let row = 0;
  for (const { header, body, count: rows, dictionary } of to > 0 ? dataPages(request) : []) {
    if (row + rows > groupRows) throw new RangeError(`its pages hold more than ${String(groupRows)} rows`);
    if (row + rows > from) {
      if (sink === undefined) {
        sinkStart = row;
        sink = new ColumnSink(request, groupRows - row, row);
      }
      const { presence, values, encoding } =
        header.data_page_header_v2 === undefined
          ? dataPage(body, rows, header.uncompressed_page_size, header.data_page_header?.encoding ?? 'PLAIN', request)
          : dataPageV2(body, header.data_page_header_v2, header.uncompressed_page_size, request);
      if (presence.present < rows && !request.nullable)
        throw new RangeError(`a value is absent between rows ${String(row)} and ${String(row + rows)}, where none may be`);
      sink.addPage(values, encoding, dictionary, presence, rows);
    }
    row += rows;
    if (row >= to) break;
  }
  if (row < to) throw new RangeError(`its pages end after ${String(row)} of ${String(groupRows)} rows`);
  if (sink === undefined) return new ColumnSink(request, 0, 0).finish();
  const whole = sink.finish();
  if (whole.type === 'utf8' && !isUtf8(whole.values as Uint8Array)) throw notText(request);
  return sliceColumn(whole, from - sinkStart, to - sinkStart);
}

interface PageParts {
  presence: Presence;
  values: Buffer;
  encoding: Encoding;
}

function dataPage(body: Buffer, rows: number, pageBytes: number, encoding: Encoding, request: ChunkRequest): PageParts {
  const page = decompress(body, pageBytes, request);
  if (request.column.maxDefinition === 0) return { presence: { present: rows, bits: undefined }, values: page, encoding };
  const levels = page.readUInt32LE(0);
  if (4 + levels > page.length) throw new RangeError('its definition levels end behind the page');
  return { presence: decodePresence(page, 4, 4 + levels, rows), values: page.subarray(4 + levels), encoding };
}

interface V2Header {
  num_values: number;
  encoding: Encoding;
  definition_levels_byte_length: number;
  repetition_levels_byte_length: number;
  is_compressed?: boolean;
}

function dataPageV2(body: Buffer, header: V2Header, pageBytes: number, request: ChunkRequest): PageParts {
  const start = header.repetition_levels_byte_length;
  const end = start + header.definition_levels_byte_length;
  if (end > body.length) throw new RangeError('its definition levels end behind the page');
  const presence =
    request.column.maxDefinition === 0 || end === start
      ? { present: header.num_values, bits: undefined }
      : decodePresence(body, start, end, header.num_values);
  const packed = body.subarray(end);
  const values = header.is_compressed === false ? packed : decompress(packed, pageBytes - end, request);
  return { presence, values, encoding: header.encoding };
}
