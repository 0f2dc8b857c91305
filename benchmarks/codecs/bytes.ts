/** Bytes as they are. */
import type { BlockCodec } from './codec.js';

/** A block is whatever piece arrives: nobody waits for more, nothing is copied together. */
export const bytesAsTheyCome: BlockCodec<Uint8Array> = {
  name: 'bytes',
  encode: (piece) => [piece],
  decoder: () => ({
    push: (piece) => [piece],
    end: () => [],
  }),
};
