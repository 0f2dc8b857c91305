/**
 * Text that is written as bytes: numbers, times and strings go from columns into a file without an object or a string per value.
 *
 * Owns: the bytes until `drain` gives them to whoever takes them. What is written is what `String`, `JSON.stringify` and
 * `Date.toISOString` would say of the same value.
 */
import { escapesOf } from './json-escapes.js';

/** Handed on when there is as much as this. */
const drainBytes = 1024 * 1024;
/** The longest of what `number`, `integer` and `time` write: -1.2345678901234567e-300, 2^64, a time. */
const numberBytesMax = 32;
/** With this many decimals at most, and 15 digits in all, a double is told by one multiplication and one division. */
const decimalsMax = 6;
const decimalsScale = 1e6;
const dayMs = 86_400_000;

/** Bytes that are written again and again, as words of four: the last one is filled up with what the next write covers. */
export interface Piece {
  readonly length: number;
  readonly words: Int32Array;
}

export function pieceOf(bytes: Uint8Array | string): Piece {
  const from = Buffer.from(bytes);
  const padded = Buffer.alloc(Math.ceil(from.length / 4) * 4);
  from.copy(padded);
  return {
    length: from.length,
    words: Int32Array.from({ length: padded.length / 4 }, (_, word) => padded.readInt32LE(4 * word)),
  };
}

/** Whether a day, counted from 1970, lies in a year that is written with four digits: 0000 to 9999. */
export const hasPlainYear = (days: number): boolean => days >= -719_528 && days <= 2_932_896;

export class TextBuffer {
  #bytes: Buffer;
  #view: DataView;
  #at = 0;

  /** `take` has done with the bytes when it returns. */
  constructor(
    private readonly take: (bytes: Uint8Array) => void,
    startBytes = drainBytes + 64 * 1024,
  ) {
    this.#bytes = Buffer.allocUnsafeSlow(startBytes);
    this.#view = viewOf(this.#bytes);
  }

  /** Hands on what there is, if that is much; between rows. */
  drainIfFull(): void {
    if (this.#at >= drainBytes) this.drain();
  }

  drain(): void {
    if (this.#at > 0) this.take(this.#bytes.subarray(0, this.#at));
    this.#at = 0;
  }

  /** Drops what there is. */
  forget(): void {
    this.#at = 0;
  }

  #room(bytes: number): Buffer {
    if (this.#at + bytes > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(this.#at + bytes, this.#bytes.length * 2));
      this.#bytes.copy(grown, 0, 0, this.#at);
      this.#bytes = grown;
      this.#view = viewOf(grown);
    }
    return this.#bytes;
  }

  byte(byte: number): void {
    this.#room(1)[this.#at++] = byte;
  }

  raw({ length, words }: Piece): void {
    this.#room(4 * words.length);
    const at = this.#at;
    for (let word = 0; word < words.length; word++) this.#view.setInt32(at + 4 * word, words[word] ?? 0, true);
    this.#at = at + length;
  }

  string(text: string): void {
    this.#room(text.length * 3);
    this.#at += this.#bytes.write(text, this.#at);
  }

  /** As `String` says a finite number. */
  number(value: number): void {
    if ((value | 0) === value) {
      this.integer(value);
      return;
    }
    const scaled = Math.round(value * decimalsScale);
    if (scaled / decimalsScale === value && scaled < 1e15 && scaled > -1e15) {
      this.#decimal(scaled);
      return;
    }
    this.#ascii(String(value));
  }

  /** A safe integer. */
  integer(value: number): void {
    this.#room(numberBytesMax);
    let rest = value;
    if (value < 0) {
      this.#bytes[this.#at++] = 0x2d;
      rest = -value;
    }
    this.#digits(rest);
  }

  /** `scaled` millionths, which are more than none. */
  #decimal(scaled: number): void {
    this.#room(numberBytesMax);
    let rest = scaled;
    if (scaled < 0) {
      this.#bytes[this.#at++] = 0x2d;
      rest = -scaled;
    }
    const whole = Math.floor(rest / decimalsScale);
    let fraction = (rest - whole * decimalsScale) | 0;
    this.#digits(whole);
    if (fraction === 0) return;
    let places = decimalsMax;
    while (fraction % 10 === 0) {
      fraction = (fraction / 10) | 0;
      places -= 1;
    }
    this.#bytes[this.#at] = 0x2e;
    this.#padded(this.#at + 1, fraction, places);
    this.#at += places + 1;
  }

  #digits(value: number): void {
    if (value >= 1e9) {
      const high = Math.floor(value / 1e9);
      this.#digits(high);
      this.#padded(this.#at, (value - high * 1e9) | 0, 9);
      this.#at += 9;
      return;
    }
    const small = value | 0;
    const places =
      small < 10 ? 1 : small < 100 ? 2 : small < 1000 ? 3 : small < 10_000 ? 4 : small < 100_000 ? 5 : placesOf(small);
    this.#padded(this.#at, small, places);
    this.#at += places;
  }

  /** Exactly `places` digits. */
  #padded(at: number, value: number, places: number): void {
    const bytes = this.#bytes;
    let rest = value | 0;
    for (let i = at + places - 1; i >= at; i--) {
      const tenth = (rest / 10) | 0;
      bytes[i] = 0x30 + (rest - tenth * 10);
      rest = tenth;
    }
  }

  #ascii(text: string): void {
    const bytes = this.#room(text.length);
    let at = this.#at;
    for (let i = 0; i < text.length; i++) bytes[at++] = text.charCodeAt(i);
    this.#at = at;
  }

  /** `2001-01-31`. Only of years with four digits: see `hasPlainYear`. */
  date(days: number): void {
    this.#room(numberBytesMax);
    // Days since 1 March 0000, in eras of 400 years: the leap day is the last day of a year then.
    const shifted = days + 719_468;
    const era = Math.floor(shifted / 146_097);
    const dayOfEra = shifted - era * 146_097;
    const yearOfEra = ((dayOfEra - ((dayOfEra / 1460) | 0) + ((dayOfEra / 36_524) | 0) - ((dayOfEra / 146_096) | 0)) / 365) | 0;
    const dayOfYear = dayOfEra - (365 * yearOfEra + (yearOfEra >> 2) - ((yearOfEra / 100) | 0));
    const fromMarch = ((5 * dayOfYear + 2) / 153) | 0;
    const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
    const at = this.#at;
    this.#padded(at, yearOfEra + era * 400 + (month <= 2 ? 1 : 0), 4);
    this.#bytes[at + 4] = 0x2d;
    this.#padded(at + 5, month, 2);
    this.#bytes[at + 7] = 0x2d;
    this.#padded(at + 8, dayOfYear - (((153 * fromMarch + 2) / 5) | 0) + 1, 2);
    this.#at = at + 10;
  }

  /** `2001-01-31T23:00:00.123Z`, or with `micros` below the millisecond `…123456Z`; years as above. */
  time(ms: number, micros?: number): void {
    const days = Math.floor(ms / dayMs);
    this.date(days);
    const ofDay = ms - days * dayMs;
    const seconds = (ofDay / 1000) | 0;
    const minutes = (seconds / 60) | 0;
    const hours = (minutes / 60) | 0;
    const at = this.#at;
    const bytes = this.#bytes;
    bytes[at] = 0x54;
    this.#padded(at + 1, hours, 2);
    bytes[at + 3] = 0x3a;
    this.#padded(at + 4, minutes - hours * 60, 2);
    bytes[at + 6] = 0x3a;
    this.#padded(at + 7, seconds - minutes * 60, 2);
    bytes[at + 9] = 0x2e;
    this.#padded(at + 10, ofDay - seconds * 1000, 3);
    this.#at = at + 13;
    if (micros !== undefined) {
      this.#padded(this.#at, micros, 3);
      this.#at += 3;
    }
    bytes[this.#at++] = 0x5a;
  }

  /** UTF-8 text as a JSON string. */
  jsonText(text: Uint8Array, from: number, to: number): void {
    const bytes = this.#room((to - from) * 6 + 2);
    let at = this.#at;
    bytes[at++] = 0x22;
    for (let i = from; i < to; i++) {
      const byte = text[i] ?? 0;
      const escape = escapesOf[byte];
      if (escape === undefined) {
        bytes[at++] = byte;
      } else {
        for (let k = 0; k < escape.length; k++) bytes[at++] = escape[k] ?? 0;
      }
    }
    bytes[at++] = 0x22;
    this.#at = at;
  }

  /** Text between quotes, with quotes within doubled: a field of CSV. */
  quotedText(text: Uint8Array, from: number, to: number): void {
    const bytes = this.#room((to - from) * 2 + 2);
    let at = this.#at;
    bytes[at++] = 0x22;
    for (let i = from; i < to; i++) {
      const byte = text[i] ?? 0;
      if (byte === 0x22) bytes[at++] = 0x22;
      bytes[at++] = byte;
    }
    bytes[at++] = 0x22;
    this.#at = at;
  }

  /** UTF-8 text as it is. */
  plainText(text: Uint8Array, from: number, to: number): void {
    const bytes = this.#room(to - from);
    let at = this.#at;
    for (let i = from; i < to; i++) bytes[at++] = text[i] ?? 0;
    this.#at = at;
  }
}

const viewOf = ({ buffer, byteOffset, byteLength }: Buffer): DataView => new DataView(buffer, byteOffset, byteLength);

const placesOf = (value: number): number => (value < 1_000_000 ? 6 : value < 10_000_000 ? 7 : value < 100_000_000 ? 8 : 9);
