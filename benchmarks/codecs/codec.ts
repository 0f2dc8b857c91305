/** How a block becomes bytes between two processes of a baseline, and bytes a block again. */
import type { ColumnSchema } from '../../runtime/contracts/block.js';
import type { Table } from '../table.js';

export interface BlockCodec<B> {
  readonly name: string;
  /** One block, whole in itself; in pieces, so that a transport may send the first while the next is made. */
  encode(block: B): Iterable<Uint8Array>;
  /** For one stream, or one value. */
  decoder(): BlockDecoder<B>;
}

export interface BlockDecoder<B> {
  /** Blocks that are complete with this piece. The piece is the decoder's. */
  push(piece: Buffer): Iterable<B>;
  /** Throws when the stream was cut off. */
  end(): Iterable<B>;
}

export type Codec = BlockCodec<Table>;
export type Decoder = BlockDecoder<Table>;

export type MakeCodec = (schema: readonly ColumnSchema[], blockRows: number) => Codec;
