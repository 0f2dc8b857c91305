/**
 * A dictionary that grows while a source is read: text to int32 code.
 *
 * Invariants
 *  1. A code, once given, keeps its text; `snapshot` returns the same object until a text is added.
 *  2. The codes of some texts are kept at hand, each in the place that its hash names: a text that is met again there is compared as bytes,
 *     without making a string of it. A text that finds another in its place costs a string, and takes the place.
 *  3. At most `valuesMax` texts: a column with more is no dictionary, and is told so.
 */
import { PodlineError } from '../contracts/errors.js';
import type { Utf8Data } from '../scratch/types.js';

/** A dictionary is written again whenever it has grown: beyond this many values that costs more than the text itself. */
export const dictionaryValuesMax = 1_048_576;

/** Places for codes at hand. */
const atHandPlaces = 4096;

export class GrowingDictionary {
  readonly #codes = new Map<string, number>();
  /** A code in each place, or -1. */
  readonly #atHand = new Int32Array(atHandPlaces).fill(-1);
  #bytes = Buffer.alloc(1024);
  #offsets = new Int32Array(128);
  #length = 0;
  #snapshot: Utf8Data | undefined;

  constructor(
    private readonly column: string,
    private readonly valuesMax = dictionaryValuesMax,
  ) {}

  get length(): number {
    return this.#length;
  }

  /** The code of UTF-8 text `bytes[from, to)`, a new one if it is new. */
  codeOf(bytes: Buffer, from: number, to: number): number {
    const place = placeOf(bytes, from, to);
    const code = this.#atHand[place] ?? -1;
    if (code >= 0 && this.#isText(code, bytes, from, to)) return code;
    return (this.#atHand[place] = this.#lookUp(bytes, from, to));
  }

  #isText(code: number, bytes: Buffer, from: number, to: number): boolean {
    const start = this.#offsets[code] ?? 0;
    if ((this.#offsets[code + 1] ?? 0) - start !== to - from) return false;
    const known = this.#bytes;
    for (let i = 0; i < to - from; i++) if (known[start + i] !== bytes[from + i]) return false;
    return true;
  }

  #lookUp(bytes: Buffer, from: number, to: number): number {
    const key = bytes.toString('latin1', from, to);
    const known = this.#codes.get(key);
    if (known !== undefined) return known;
    if (this.#length >= this.valuesMax) {
      throw new PodlineError(
        'PDL_COLUMN_TYPE',
        `column "${this.column}" has more than ${String(this.valuesMax)} different texts`,
        {
          place: `column ${this.column}`,
          hint: `Declare the column as utf8: \`columns: { ${this.column}: utf8 }\`.`,
        },
      );
    }
    const code = this.#length++;
    const start = this.#offsets[code] ?? 0;
    const end = start + to - from;
    if (end > this.#bytes.length) {
      const grown = Buffer.alloc(Math.max(end, this.#bytes.length * 2));
      this.#bytes.copy(grown, 0, 0, start);
      this.#bytes = grown;
    }
    if (code + 2 > this.#offsets.length) {
      const grown = new Int32Array(this.#offsets.length * 2);
      grown.set(this.#offsets);
      this.#offsets = grown;
    }
    bytes.copy(this.#bytes, start, from, to);
    this.#offsets[code + 1] = end;
    this.#codes.set(key, code);
    this.#snapshot = undefined;
    return code;
  }

  /** What codes given so far point into. */
  snapshot(): Utf8Data {
    this.#snapshot ??= {
      length: this.#length,
      offsets: this.#offsets.slice(0, this.#length + 1),
      values: new Uint8Array(this.#bytes.subarray(0, this.#offsets[this.#length] ?? 0)),
    };
    return this.#snapshot;
  }
}

/** By FNV-1a (Fowler, Noll, Vo; 32 bits). */
function placeOf(bytes: Buffer, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let at = from; at < to; at++) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193);
  return (hash ^ (hash >>> 16)) & (atHandPlaces - 1);
}
