/** The pages of a column chunk, one after another, and what is in them once it is decompressed. */
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { compressors as foreign } from 'hyparquet-compressors';
import type { Compressors, PageHeader } from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import { decompressPage } from 'hyparquet/src/datapage.js';
import { readValues } from './values.js';
import type { ChunkRequest } from './request.js';
import { ColumnSink, type DecodedDictionary } from './sink.js';

const compressors: Compressors = {
  ...foreign,
  GZIP: (input, outputLength) => gunzipSync(input, { maxOutputLength: Math.max(outputLength, 1) }),
  BROTLI: (input, outputLength) => brotliDecompressSync(input, { maxOutputLength: Math.max(outputLength, 1) }),
};

export interface DataPage {
  header: PageHeader;
  body: Buffer;
  /** Values, and those that are absent. */
  count: number;
  dictionary: DecodedDictionary | undefined;
}

/** Data pages, as they lie; a dictionary is decoded on the way. Ends with the bytes of the chunk. Throws RangeError. */
export function* dataPages(request: ChunkRequest): Generator<DataPage> {
  const { bytes, column } = request;
  const reader = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: 0 };
  let dictionary: DecodedDictionary | undefined;
  while (reader.offset < bytes.length) {
    const header = parquetHeader(reader);
    const start = reader.offset;
    const end = start + header.compressed_page_size;
    if (!(end >= start && end <= bytes.length))
      throw new RangeError(
        `a page of ${String(header.compressed_page_size)} bytes at ${String(start)} does not lie within the ${String(bytes.length)} bytes of the column`,
      );
    reader.offset = end;
    const body = bytes.subarray(start, end);
    if (header.type === 'DICTIONARY_PAGE') {
      const count = header.dictionary_page_header?.num_values ?? 0;
      const page = decompress(body, header.uncompressed_page_size, request);
      dictionary = ColumnSink.dictionary(readValues(page, 'PLAIN', count, column), request);
      continue;
    }
    const count = header.data_page_header?.num_values ?? header.data_page_header_v2?.num_values;
    if (count !== undefined) yield { header, body, count, dictionary };
  }
}

export function decompress(body: Buffer, outputLength: number, { meta }: ChunkRequest): Buffer {
  if (outputLength === 0) return Buffer.alloc(0);
  const page = decompressPage(body, outputLength, meta.codec, compressors);
  return Buffer.from(page.buffer, page.byteOffset, page.byteLength);
}
