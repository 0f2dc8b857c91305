/** How a table becomes bytes between two processes of a baseline, and bytes a table again. */
import type { ColumnSchema } from '../../runtime/contracts/block.js';
import type { Table } from '../table.js';

export interface Codec {
  readonly name: string;
  /** One block, whole in itself; in pieces, so that a transport may send the first while the next is made. */
  encode(table: Table): Iterable<Uint8Array>;
  /** For one stream, or one value. */
  decoder(): Decoder;
}

export interface Decoder {
  /** Tables that are complete with this piece. The piece is the decoder's. */
  push(piece: Buffer): Iterable<Table>;
  end(): Iterable<Table>;
}

export type MakeCodec = (schema: readonly ColumnSchema[], blockRows: number) => Codec;
