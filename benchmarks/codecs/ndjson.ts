/**
 * NDJSON, as fast as JavaScript lets it be: lines are put together by columns whose words are quoted once, and parsed by
 * the engine many at a time. Blocks have no mark in it: the reader cuts its own, of `blockRows`.
 */
import type { ColumnSchema } from '../../runtime/contracts/block.js';
import { columnOf } from '../../runtime/stages/columns.js';
import type { ColumnData } from '../../runtime/scratch/types.js';
import { columnsOf } from '../table.js';
import type { Codec, Decoder } from './codec.js';
import { RowCollector, valueReader, type Row } from './rows.js';

/** A piece of some hundred KiB. */
const rowsOfPiece = 4096;

export const ndjsonCodec = (schema: readonly ColumnSchema[], blockRows: number): Codec => ({
  name: 'NDJSON',
  *encode(table) {
    const keys = schema.map(({ name }, index) => `${index === 0 ? '{' : ','}${JSON.stringify(name)}:`);
    const texts = columnsOf(table, schema).map(textReader);
    for (let from = 0; from < table.rows; from += rowsOfPiece) {
      const to = Math.min(from + rowsOfPiece, table.rows);
      let lines = '';
      for (let row = from; row < to; row++) {
        for (let i = 0; i < texts.length; i++) lines += keys[i]! + texts[i]!(row);
        lines += '}\n';
      }
      yield Buffer.from(lines);
    }
  },
  decoder: () => new NdjsonDecoder(new RowCollector(schema, blockRows)),
});

function textReader(data: ColumnData): (row: number) => string {
  if (data.type === 'dictionary' && data.nullCount === 0) {
    const column = columnOf(data);
    if (column.type === 'dictionary') {
      const quoted = column.dictionary.map((word) => JSON.stringify(word));
      const { codes } = column;
      return (row) => quoted[codes[row]!]!;
    }
  }
  const value = valueReader(data);
  return (row) => {
    const found = value(row);
    if (typeof found === 'number') return found === found ? `${found}` : 'null';
    return JSON.stringify(found);
  };
}

class NdjsonDecoder implements Decoder {
  #rest: Buffer = Buffer.alloc(0);

  constructor(private readonly collector: RowCollector) {}

  *push(piece: Buffer) {
    const end = piece.lastIndexOf(10);
    if (end < 0) {
      this.#rest = Buffer.concat([this.#rest, piece]);
      return;
    }
    const head = piece.subarray(0, end);
    const lines = this.#rest.length === 0 ? head.toString() : Buffer.concat([this.#rest, head]).toString();
    this.#rest = piece.subarray(end + 1);
    yield* this.collector.add(JSON.parse(`[${lines.replaceAll('\n', ',')}]`) as Row[]);
  }

  *end() {
    if (this.#rest.length > 0) throw new Error('the stream ended within a line');
    yield* this.collector.end();
  }
}
