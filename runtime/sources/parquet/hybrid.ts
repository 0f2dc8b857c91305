/** Parquet's run-length / bit-packed hybrid, decoded straight into typed arrays: levels into bits, codes into int32. */
import { setBits } from '../columns.js';

/**
 * `count` values of `bitWidth` bits from bytes[from, to). Throws RangeError when the bytes end before.
 */
export function decodeCodes(bytes: Uint8Array, from: number, to: number, bitWidth: number, count: number): Int32Array {
  const out = new Int32Array(count);
  if (bitWidth === 0) return out;
  if (bitWidth > 32) throw new RangeError(`bit width ${String(bitWidth)} of dictionary codes`);
  eachRun(bytes, from, to, bitWidth, count, {
    repeated: (at, length, value) => out.fill(value, at, at + length),
    packed: (at, length, start) => {
      unpack(bytes, start, bitWidth, out, at, length);
    },
  });
  return out;
}

export interface Presence {
  /** Rows that hold a value. */
  present: number;
  /** Bit i set: row i holds a value. Absent: all do. */
  bits: Uint8Array | undefined;
}

/** Definition levels of a flat column (0 or 1). */
export function decodePresence(bytes: Uint8Array, from: number, to: number, count: number): Presence {
  const bits = new Uint8Array((count + 7) >> 3);
  let present = 0;
  eachRun(bytes, from, to, 1, count, {
    repeated: (at, length, value) => {
      if (value === 0) return;
      setBits(bits, at, at + length);
      present += length;
    },
    packed: (at, length, start) => {
      for (let i = 0; i < length; i++) {
        if ((((bytes[start + (i >> 3)] ?? 0) >> (i & 7)) & 1) === 0) continue;
        bits[(at + i) >> 3] = (bits[(at + i) >> 3] ?? 0) | (1 << ((at + i) & 7));
        present += 1;
      }
    },
  });
  return { present, bits: present === count ? undefined : bits };
}

interface Runs {
  repeated(at: number, length: number, value: number): void;
  /** `length` packed values whose first byte is bytes[start]. */
  packed(at: number, length: number, start: number): void;
}

function eachRun(bytes: Uint8Array, from: number, to: number, bitWidth: number, count: number, runs: Runs): void {
  let position = from;
  let seen = 0;
  while (seen < count) {
    let header = 0;
    for (let shift = 0; ; shift += 7) {
      if (position >= to) throw new RangeError(`a page ends after ${String(seen)} of ${String(count)} values`);
      const byte = bytes[position++] ?? 0;
      header += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
    }
    const runLength = (header & 1) === 1 ? Math.floor(header / 2) * 8 : Math.floor(header / 2);
    const length = Math.min(runLength, count - seen);
    if ((header & 1) === 1) {
      // Writers may leave out the padding of the last group; the bits of `length` values must be there.
      if (position + Math.ceil((length * bitWidth) / 8) > to)
        throw new RangeError(`a page ends after ${String(seen)} of ${String(count)} values`);
      runs.packed(seen, length, position);
      position += (runLength / 8) * bitWidth;
    } else {
      if (runLength === 0) throw new RangeError('a run of no values');
      let value = 0;
      for (let i = 0; i < (bitWidth + 7) >> 3; i++) value |= (bytes[position++] ?? 0) << (8 * i);
      if (position > to) throw new RangeError(`a page ends after ${String(seen)} of ${String(count)} values`);
      runs.repeated(seen, length, value);
    }
    seen += length;
  }
}

function unpack(bytes: Uint8Array, start: number, bitWidth: number, out: Int32Array, at: number, length: number): void {
  if (bitWidth === 8) {
    for (let i = 0; i < length; i++) out[at + i] = bytes[start + i] ?? 0;
    return;
  }
  if (bitWidth <= 24) {
    const mask = (1 << bitWidth) - 1;
    let held = 0;
    let heldBits = 0;
    let position = start;
    for (let i = 0; i < length; i++) {
      while (heldBits < bitWidth) {
        held |= (bytes[position++] ?? 0) << heldBits;
        heldBits += 8;
      }
      out[at + i] = held & mask;
      held >>>= bitWidth;
      heldBits -= bitWidth;
    }
    return;
  }
  for (let i = 0; i < length; i++) {
    const bit = i * bitWidth;
    const position = start + Math.floor(bit / 8);
    const low =
      (bytes[position] ?? 0) +
      (bytes[position + 1] ?? 0) * 2 ** 8 +
      (bytes[position + 2] ?? 0) * 2 ** 16 +
      (bytes[position + 3] ?? 0) * 2 ** 24 +
      (bytes[position + 4] ?? 0) * 2 ** 32;
    out[at + i] = Math.floor(low / 2 ** (bit % 8)) % 2 ** bitWidth;
  }
}
