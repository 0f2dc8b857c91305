/** Strings as Arrow has them: bytes and offsets. */
import type { Utf8Data } from '../scratch/types.js';

/** Of UTF-8, for each UTF-16 unit of a string. */
const bytesPerUnitMax = 3;
/** Below it, a loop over the characters is quicker than a call into the engine. */
const loopedUnitsMax = 24;
/** Room for a word at first. */
const wordBytes = 16;

/** A null is a string of no bytes. */
export function encodeWords(words: readonly (string | null | undefined)[]): Utf8Data {
  const offsets = new Int32Array(words.length + 1);
  let out: Buffer<ArrayBuffer> = Buffer.allocUnsafeSlow(words.length * wordBytes);
  let at = 0;
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (word) {
      if (at + word.length * bytesPerUnitMax > out.length) out = grown(out, at, at + word.length * bytesPerUnitMax);
      const ascii = word.length > loopedUnitsMax ? 0 : asciiInto(out, at, word);
      at += ascii === word.length ? ascii : out.write(word, at);
    }
    offsets[i + 1] = at;
  }
  return { length: words.length, offsets, values: new Uint8Array(out.buffer, 0, at) };
}

/** Writes a word as far as it is ASCII; returns how far that was. */
function asciiInto(out: Buffer, at: number, word: string): number {
  for (let k = 0; k < word.length; k++) {
    const unit = word.charCodeAt(k);
    if (unit > 127) return k;
    out[at + k] = unit;
  }
  return word.length;
}

function grown(out: Buffer, filled: number, needed: number): Buffer<ArrayBuffer> {
  const more = Buffer.allocUnsafeSlow(Math.max(out.length * 2, needed));
  out.copy(more, 0, 0, filled);
  return more;
}

const encoded = new WeakMap<readonly string[], Utf8Data>();
/** The same array of strings gives the same dictionary, which the scratch then writes once for all blocks. */
export function dictionaryWords(words: readonly string[]): Utf8Data {
  const known = encoded.get(words);
  if (known !== undefined && known.length === words.length) return known;
  const data = encodeWords(words);
  encoded.set(words, data);
  return data;
}
