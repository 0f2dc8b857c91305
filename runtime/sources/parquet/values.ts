/**
 * The values of a parquet page: read in their physical encoding, then made into the array of a column type.
 *
 * Numbers stay numbers in typed arrays and texts stay bytes with starts and ends: no BigInt, Date or string
 * is made per value on the paths that files commonly take (PLAIN, dictionaries, booleans).
 */
import { deltaByteArray, deltaLengthByteArray } from 'hyparquet/src/delta.js';
import { byteStreamSplit } from 'hyparquet/src/encoding.js';
import type { Encoding } from 'hyparquet';
import type { ColumnType } from '../../contracts/block.js';
import { PodlineError } from '../../contracts/errors.js';
import type { FixedArray } from '../columns.js';
import { narrow } from '../narrow.js';
import { decodeDelta } from './delta.js';
import type { Meaning, ParquetColumn } from './footer.js';
import { decodeCodes } from './hybrid.js';

/** Text i is bytes[starts[i], ends[i]). */
export interface Texts {
  bytes: Buffer;
  starts: Int32Array;
  ends: Int32Array;
}
/** bool: 0 or 1 each. */
export type Numbers = Int32Array | Uint32Array | BigInt64Array | BigUint64Array | Float32Array | Float64Array | Uint8Array;
export type PageValues = { texts: Texts } | { numbers: Numbers };

/** `count` values of a page that is not dictionary-encoded. Throws RangeError when the page is too short for them. */
export function readValues(page: Buffer, encoding: Encoding, count: number, column: ParquetColumn): PageValues {
  const { type } = column.element;
  if (count === 0)
    return type === 'BYTE_ARRAY' || column.meaning.kind === 'uuid' ? { texts: noTexts } : { numbers: new Int32Array(0) };
  const reader = { view: new DataView(page.buffer, page.byteOffset, page.byteLength), offset: 0 };
  switch (encoding) {
    case 'PLAIN':
      return mean(readPlain(page, count, column), column);
    case 'RLE': {
      if (type !== 'BOOLEAN') break;
      const length = page.readUInt32LE(0);
      return { numbers: Uint8Array.from(decodeCodes(page, 4, Math.min(4 + length, page.length), 1, count)) };
    }
    case 'DELTA_BINARY_PACKED': {
      if (type !== 'INT32' && type !== 'INT64') break;
      return mean({ numbers: type === 'INT32' ? decodeDelta(page, count, false) : decodeDelta(page, count, true) }, column);
    }
    case 'DELTA_LENGTH_BYTE_ARRAY':
    case 'DELTA_BYTE_ARRAY': {
      const parts = new Array<Uint8Array>(count);
      (encoding === 'DELTA_BYTE_ARRAY' ? deltaByteArray : deltaLengthByteArray)(reader, count, parts);
      return mean({ texts: textsOf(parts) }, column);
    }
    case 'BYTE_STREAM_SPLIT': {
      if (type === undefined) break;
      const split = byteStreamSplit(reader, count, type, column.element.type_length);
      return mean(Array.isArray(split) ? { texts: textsOf(split as Uint8Array[]) } : { numbers: split }, column);
    }
    default:
  }
  throw new PodlineError(
    'PDL_FORMAT_UNSUPPORTED',
    `column "${column.name}" is encoded as ${encoding}, which Podline does not read`,
    {
      hint: 'Write the file with the encodings PLAIN or dictionary.',
    },
  );
}

const noTexts: Texts = { bytes: Buffer.alloc(0), starts: new Int32Array(0), ends: new Int32Array(0) };

function textsOf(parts: readonly Uint8Array[]): Texts {
  const starts = new Int32Array(parts.length);
  const ends = new Int32Array(parts.length);
  let at = 0;
  parts.forEach((part, i) => {
    starts[i] = at;
    at += part.length;
    ends[i] = at;
  });
  return { bytes: Buffer.concat(parts), starts, ends };
}

function readPlain(page: Buffer, count: number, column: ParquetColumn): PageValues {
  const { type, type_length: width = 0 } = column.element;
  const need = (bytes: number): void => {
    if (bytes > page.length) throw new RangeError(`a page of ${String(page.length)} bytes was expected to have ${String(bytes)}`);
  };
  const aligned = (bytes: number): ArrayBuffer => {
    need(bytes);
    const copy = new ArrayBuffer(bytes);
    new Uint8Array(copy).set(page.subarray(0, bytes));
    return copy;
  };
  switch (type) {
    case 'INT32':
      return { numbers: new Int32Array(aligned(count * 4)) };
    case 'INT64':
      return { numbers: new BigInt64Array(aligned(count * 8)) };
    case 'FLOAT':
      return { numbers: new Float32Array(aligned(count * 4)) };
    case 'DOUBLE':
      return { numbers: new Float64Array(aligned(count * 8)) };
    case 'BOOLEAN': {
      need((count + 7) >> 3);
      return { numbers: Uint8Array.from({ length: count }, (_, i) => ((page[i >> 3] ?? 0) >> (i & 7)) & 1) };
    }
    case 'INT96': {
      need(count * 12);
      // Nanoseconds of a day and its Julian number, as older writers do; made into microseconds since 1970.
      return {
        numbers: BigInt64Array.from(
          { length: count },
          (_, i) => page.readBigInt64LE(i * 12) / 1000n + BigInt(page.readInt32LE(i * 12 + 8) - 2_440_588) * 86_400_000_000n,
        ),
      };
    }
    case 'FIXED_LEN_BYTE_ARRAY': {
      need(count * width);
      return {
        texts: {
          bytes: page,
          starts: Int32Array.from({ length: count }, (_, i) => i * width),
          ends: Int32Array.from({ length: count }, (_, i) => (i + 1) * width),
        },
      };
    }
    case 'BYTE_ARRAY': {
      const starts = new Int32Array(count);
      const ends = new Int32Array(count);
      let at = 0;
      for (let i = 0; i < count; i++) {
        if (at + 4 > page.length) throw new RangeError(`a page ends after ${String(i)} of ${String(count)} texts`);
        starts[i] = at + 4;
        at += 4 + page.readUInt32LE(at);
        ends[i] = at;
      }
      need(at);
      return { texts: { bytes: page, starts, ends } };
    }
    default:
      throw new RangeError(`physical type ${String(type)}`);
  }
}

/** Gives the physical values their meaning where it is not that of the physical type. */
function mean(values: PageValues, column: ParquetColumn): PageValues {
  const { meaning } = column;
  if ('numbers' in values) {
    const { numbers } = values;
    if (meaning.kind === 'integer' && !meaning.signed) {
      if (numbers instanceof Int32Array) return { numbers: new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length) };
      if (numbers instanceof BigInt64Array)
        return { numbers: new BigUint64Array(numbers.buffer, numbers.byteOffset, numbers.length) };
    }
    if (meaning.kind === 'decimal')
      return { numbers: Float64Array.from({ length: numbers.length }, (_, i) => Number(numbers[i]) / 10 ** meaning.scale) };
    return values;
  }
  const { bytes, starts, ends } = values.texts;
  const each = <T>(make: (value: Buffer) => T): T[] => Array.from(starts, (start, i) => make(bytes.subarray(start, ends[i])));
  if (meaning.kind === 'decimal') {
    return {
      numbers: Float64Array.from(
        each(
          (value) => Number(BigInt.asIntN(value.length * 8, BigInt(`0x${value.toString('hex') || '0'}`))) / 10 ** meaning.scale,
        ),
      ),
    };
  }
  if (meaning.kind === 'half') return { numbers: Float32Array.from(each((value) => halfToNumber(value.readUInt16LE(0)))) };
  if (meaning.kind === 'uuid') {
    return {
      texts: textsOf(
        each((value) => Buffer.from(value.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'))),
      ),
    };
  }
  return values;
}

function halfToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * 2 ** -14 * (fraction / 1024);
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return sign * 2 ** (exponent - 15) * (1 + fraction / 1024);
}

/** Whether values of this meaning can become this type at all. */
export function canBecome(meaning: Meaning, type: ColumnType): boolean {
  const isText = type === 'utf8' || type === 'dictionary';
  const isTime = type === 'timestamp[ms]' || type === 'timestamp[us]' || type === 'date32';
  switch (meaning.kind) {
    case 'text':
    case 'uuid':
      return isText;
    case 'timestamp':
    case 'int96':
    case 'date':
      return isTime || type === 'int64';
    case 'bool':
      return type === 'bool' || /^u?int|^float/.test(type);
    case 'integer':
      return !isText && type !== 'bool' && type !== 'date32';
    case 'float':
    case 'half':
    case 'decimal':
      return /^u?int|^float/.test(type);
  }
}

export interface Converted {
  /** bool: a byte of 0 or 1 each. */
  values: FixedArray;
  /** Byte i is 1: number i does not fit the type, and values[i] means nothing. */
  bad: Uint8Array | undefined;
}

/** Numbers of a meaning as an array of a type. Times are rounded down to the unit of the type. */
export function convertNumbers(numbers: Numbers, meaning: Meaning, type: ColumnType): Converted {
  const unit =
    meaning.kind === 'timestamp' ? meaning.unit : meaning.kind === 'int96' ? 'us' : meaning.kind === 'date' ? 'd' : undefined;
  if (unit !== undefined && type !== 'int64') {
    const target = type === 'timestamp[ms]' ? 'ms' : type === 'timestamp[us]' ? 'us' : 'd';
    if (unit === target) return { values: numbers, bad: undefined };
    const from = nanoseconds[unit];
    const to = nanoseconds[target];
    const scaled = BigInt64Array.from({ length: numbers.length }, (_, i) => floorDivide(BigInt(numbers[i] ?? 0) * from, to));
    return type === 'date32' ? narrow(scaled, 'int32') : { values: scaled, bad: undefined };
  }
  return narrow(numbers, type);
}

const nanoseconds = { ns: 1n, us: 1_000n, ms: 1_000_000n, d: 86_400_000_000_000n } as const;
const floorDivide = (value: bigint, by: bigint): bigint => (value >= 0n ? value / by : -((-value + by - 1n) / by));
