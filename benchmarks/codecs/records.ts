/** Records by msgpackr, with structures: names once per block, a constructor compiled by msgpackr where they are read. */
import { Packr, Unpackr } from 'msgpackr';
import type { ColumnSchema } from '../../runtime/contracts/block.js';
import type { Codec } from './codec.js';
import { framed, FrameReader } from './frames.js';
import { RowCollector, rowMaker, type Row } from './rows.js';

/** One message: large enough that what each costs is nothing against it, small enough to stay in the cache. */
const rowsOfMessage = 8192;

export const recordsCodec = (schema: readonly ColumnSchema[], blockRows: number): Codec => {
  const packr = new Packr({ useRecords: true });
  const rowsOf = rowMaker(schema);
  return {
    name: 'msgpackr records',
    *encode(table) {
      const make = rowsOf(table);
      for (let from = 0; from < table.rows; from += rowsOfMessage) {
        const to = Math.min(from + rowsOfMessage, table.rows);
        yield* framed([packr.pack(make(from, to))]);
      }
    },
    decoder() {
      const frames = new FrameReader();
      const unpackr = new Unpackr({ useRecords: true });
      const collector = new RowCollector(schema, blockRows);
      return {
        *push(piece) {
          for (const frame of frames.push(piece)) yield* collector.add(unpackr.unpack(frame) as Row[]);
        },
        *end() {
          frames.end();
          yield* collector.end();
        },
      };
    },
  };
};
