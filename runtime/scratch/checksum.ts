/**
 * CRC-32 with zlib's polynomial, and arithmetic on checksums: what a change of some bytes, whose old and new content is known,
 * does to the checksum of all, without a look at the others.
 *
 * A checksum is a remainder of polynomials over GF(2), here as zlib writes them: bit 31 is the coefficient of x^0. Appending n zero
 * bytes multiplies by x^(8n); everything else is addition, which is xor.
 */
import { crc32 as zlibCrc32 } from 'node:zlib';
import { loadNative } from './native.js';

/** crc32 over `bytes`, going on from `value`. The native part's, at the speed of memory, where that loads; else zlib's. */
export const crc32: (bytes: Uint8Array, value?: number) => number = loadNative().functions?.crc32 ?? zlibCrc32;

const polynomial = 0xedb88320;

/** a × b modulo the polynomial. */
function multiply(a: number, b: number): number {
  let product = 0;
  for (let bit = 31; bit >= 0; bit -= 1) {
    if ((a >>> bit) & 1) product ^= b;
    b = b & 1 ? (b >>> 1) ^ polynomial : b >>> 1;
  }
  return product >>> 0;
}

/** x^(8 · 2^n) for n from 0 on: enough for lengths below 2^53. */
const powers: number[] = [];
for (let power = 0x00800000; powers.length < 53; power = multiply(power, power)) powers.push(power);

/** The remainder of `value` followed by `bytes` zero bytes. */
function shift(value: number, bytes: number): number {
  let shifted = value;
  for (let n = 0, rest = bytes; rest > 0; n += 1, rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) shifted = multiply(shifted, powers[n] ?? 0);
  }
  return shifted;
}

/** The checksum of two stretches, one behind the other, from theirs. */
export const crc32Combine = (first: number, second: number, secondBytes: number): number =>
  (shift(first, secondBytes) ^ second) >>> 0;

/** The checksum of `bytes` zero bytes. */
export const crc32OfZeros = (bytes: number): number => (shift(0xffffffff, bytes) ^ 0xffffffff) >>> 0;

/** The checksum of a whole in which a stretch with checksum `before` has become one with `after`, `behind` bytes from the end. */
export const crc32Replaced = (whole: number, before: number, after: number, behind: number): number =>
  (whole ^ shift((before ^ after) >>> 0, behind)) >>> 0;
