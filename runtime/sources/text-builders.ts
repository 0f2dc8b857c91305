/** Builders of text: utf8, and dictionaries, whose texts are kept once. */
import type { ColumnType } from '../contracts/block.js';
import type { ColumnData } from '../scratch/types.js';
import { ColumnBuilder } from './column-builder.js';
import { GrowingDictionary } from './dictionary.js';
import { token, type TokenColumn } from './json-tokens.js';

/** Numbers, booleans and nested values out of JSON become their JSON. */
abstract class JsonTextBuilder extends ColumnBuilder {
  override addNumber(value: number): boolean {
    return this.addString(JSON.stringify(value));
  }

  override addBoolean(value: boolean): boolean {
    return this.addString(value ? 'true' : 'false');
  }

  override addNested(value: object): boolean {
    return this.addString(JSON.stringify(value));
  }
}

/** Below this a loop is quicker than a call of `copy`. */
const loopBytesMax = 32;

/** Bounded by the caller, who takes a column before its text is 2 GiB (`textBytesMax` of a block). */
export class TextBuilder extends JsonTextBuilder {
  #text = Buffer.allocUnsafeSlow(64 * 1024);
  #offsets: Int32Array;
  #at = 0;

  constructor(type: ColumnType, capacity: number) {
    super(type, capacity);
    this.#offsets = new Int32Array(capacity + 1);
  }

  override addText(bytes: Buffer, from: number, to: number): boolean {
    let at = this.#at;
    const length = to - from;
    if (at + length > this.#text.length) this.#grow(at + length);
    if (length > loopBytesMax) {
      bytes.copy(this.#text, at, from, to);
      at += length;
    } else {
      const text = this.#text;
      for (let i = from; i < to; i++) text[at++] = bytes[i] ?? 0;
    }
    this.#at = at;
    this.#offsets[this.rows + 1] = at;
    return this.added();
  }

  override addRun({ kinds, starts, ends }: TokenColumn, bytes: Buffer, from: number, rows: number): number {
    let row = from;
    for (; row < rows && kinds[row] === token.text; row++) this.addText(bytes, starts[row] ?? 0, ends[row] ?? 0);
    return row;
  }

  override addString(text: string): boolean {
    if (this.#at + text.length * 3 > this.#text.length) this.#grow(this.#at + text.length * 3);
    this.#at += this.#text.write(text, this.#at);
    this.#offsets[this.rows + 1] = this.#at;
    return this.added();
  }

  #grow(bytes: number): void {
    if (bytes > 0x7fffffff) throw new RangeError('more than 2 GiB of text in one block of a column');
    const grown = Buffer.allocUnsafeSlow(Math.min(Math.max(bytes, this.#text.length * 2), 0x7fffffff));
    this.#text.copy(grown, 0, 0, this.#at);
    this.#text = grown;
  }

  protected override skip(): void {
    this.#offsets[this.rows + 1] = this.#at;
  }

  protected override resize(capacity: number): void {
    const grown = new Int32Array(capacity + 1);
    grown.set(this.#offsets.subarray(0, this.rows + 1));
    this.#offsets = grown;
  }

  protected override finish(): Pick<ColumnData, 'values' | 'offsets'> {
    const offsets = this.#offsets.subarray(0, this.rows + 1);
    const { buffer, byteOffset, length } = this.#text;
    const values = new Uint8Array(buffer, byteOffset, this.#at);
    this.#text = Buffer.allocUnsafeSlow(length);
    this.#offsets = new Int32Array(this.capacity + 1);
    this.#at = 0;
    return { values, offsets };
  }
}

export class DictionaryBuilder extends JsonTextBuilder {
  readonly #dictionary: GrowingDictionary;
  #codes: Int32Array;

  constructor(name: string, capacity: number) {
    super('dictionary', capacity);
    this.#dictionary = new GrowingDictionary(name);
    this.#codes = new Int32Array(capacity);
  }

  override addText(bytes: Buffer, from: number, to: number): boolean {
    this.#codes[this.rows] = this.#dictionary.codeOf(bytes, from, to);
    return this.added();
  }

  protected override skip(): void {
    this.#codes[this.rows] = 0;
  }

  protected override resize(capacity: number): void {
    const grown = new Int32Array(capacity);
    grown.set(this.#codes.subarray(0, this.rows));
    this.#codes = grown;
  }

  protected override finish(): Pick<ColumnData, 'values' | 'dictionary'> {
    const values = this.#codes.subarray(0, this.rows);
    this.#codes = new Int32Array(this.capacity);
    return { values, dictionary: this.#dictionary.snapshot() };
  }
}
