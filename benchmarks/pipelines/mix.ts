import { defineStage } from 'podline';

const rounds = 12;

/** A stage that is bound by the CPU: every word goes through several rounds of a generator. */
export default defineStage({
  bytes(chunk, ctx) {
    const words = new Uint32Array(chunk.buffer, chunk.byteOffset, chunk.byteLength >> 2);
    const made = ctx.allocate(chunk.byteLength);
    const mixed = new Uint32Array(made.buffer, made.byteOffset, words.length);
    for (let at = 0; at < words.length; at++) {
      let word = words[at] ?? 0;
      for (let round = 0; round < rounds; round++) {
        word ^= word << 13;
        word ^= word >>> 17;
        word ^= word << 5;
      }
      mixed[at] = word;
    }
    return made;
  },
});
