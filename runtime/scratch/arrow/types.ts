/** Podline's column types as Arrow's: physical width, typed array, and the type union of Schema.fbs. */
import {
  itemTypes as itemTypeNames,
  listTypes,
  type ColumnType,
  type ItemType,
  type ListType,
  type ScalarType,
} from '../../contracts/block.js';

/** Schema.fbs, union Type: the members that can appear here or are named when they are refused. */
export const arrowTypeIds = {
  Null: 1,
  Int: 2,
  FloatingPoint: 3,
  Binary: 4,
  Utf8: 5,
  Bool: 6,
  Decimal: 7,
  Date: 8,
  Time: 9,
  Timestamp: 10,
  Interval: 11,
  List: 12,
  Struct: 13,
  Union: 14,
  FixedSizeBinary: 15,
  FixedSizeList: 16,
  Map: 17,
  Duration: 18,
  LargeBinary: 19,
  LargeUtf8: 20,
  LargeList: 21,
  RunEndEncoded: 22,
  BinaryView: 23,
  Utf8View: 24,
  ListView: 25,
  LargeListView: 26,
} as const;

/** The type of a field as an Arrow schema says it; `other` is what Podline has no type for. */
export type ArrowType =
  | { is: 'int'; bits: number; signed: boolean }
  | { is: 'float'; bits: number }
  | { is: 'bool' }
  | { is: 'utf8'; large: boolean }
  | { is: 'timestamp'; unit: 's' | 'ms' | 'us' | 'ns' }
  | { is: 'date'; unit: 'day' | 'ms' }
  /** With int32 offsets; what it holds is a field of its own below. */
  | { is: 'list' }
  | { is: 'other'; name: string };

type FixedArray =
  | Int8ArrayConstructor
  | Int16ArrayConstructor
  | Int32ArrayConstructor
  | BigInt64ArrayConstructor
  | Uint8ArrayConstructor
  | Uint16ArrayConstructor
  | Uint32ArrayConstructor
  | BigUint64ArrayConstructor
  | Float32ArrayConstructor
  | Float64ArrayConstructor;

interface Physical {
  /** Typed array of the values buffer. */
  array: FixedArray;
  /** Bytes of a value; 0 for bool (bits), utf8 (bytes of any length) and lists (whose items are an array of their own). */
  width: number;
  arrow: ArrowType;
}

/** `dictionary` describes its codes: int32 into utf8. */
const scalars: Record<ScalarType, Physical> = {
  int8: { array: Int8Array, width: 1, arrow: { is: 'int', bits: 8, signed: true } },
  int16: { array: Int16Array, width: 2, arrow: { is: 'int', bits: 16, signed: true } },
  int32: { array: Int32Array, width: 4, arrow: { is: 'int', bits: 32, signed: true } },
  int64: { array: BigInt64Array, width: 8, arrow: { is: 'int', bits: 64, signed: true } },
  uint8: { array: Uint8Array, width: 1, arrow: { is: 'int', bits: 8, signed: false } },
  uint16: { array: Uint16Array, width: 2, arrow: { is: 'int', bits: 16, signed: false } },
  uint32: { array: Uint32Array, width: 4, arrow: { is: 'int', bits: 32, signed: false } },
  uint64: { array: BigUint64Array, width: 8, arrow: { is: 'int', bits: 64, signed: false } },
  float32: { array: Float32Array, width: 4, arrow: { is: 'float', bits: 32 } },
  float64: { array: Float64Array, width: 8, arrow: { is: 'float', bits: 64 } },
  bool: { array: Uint8Array, width: 0, arrow: { is: 'bool' } },
  utf8: { array: Uint8Array, width: 0, arrow: { is: 'utf8', large: false } },
  dictionary: { array: Int32Array, width: 4, arrow: { is: 'utf8', large: false } },
  'timestamp[ms]': { array: BigInt64Array, width: 8, arrow: { is: 'timestamp', unit: 'ms' } },
  'timestamp[us]': { array: BigInt64Array, width: 8, arrow: { is: 'timestamp', unit: 'us' } },
  date32: { array: Int32Array, width: 4, arrow: { is: 'date', unit: 'day' } },
};
const list: Physical = { array: Uint8Array, width: 0, arrow: { is: 'list' } };
export const physicalTypes = {
  ...scalars,
  ...Object.fromEntries(listTypes.map((type) => [type, list])),
} as Record<ColumnType, Physical>;

const itemTypes = new Map<ColumnType, ItemType>(listTypes.map((type) => [type, type.slice(5, -1) as ItemType]));

/** What the lists of a column hold; undefined for columns of other types. */
export const itemTypeOf = (type: ColumnType): ItemType | undefined => itemTypes.get(type);
export const listOf = (item: ItemType): ListType => `list<${item}>`;
/** Whether rows are found by offsets: texts and lists. */
export const hasOffsets = (type: ColumnType): boolean => type === 'utf8' || itemTypes.has(type);

/** Bytes of the values buffer of `rows` rows; undefined for utf8, whose offsets say it. */
export function valueBytes(type: ColumnType, rows: number): number | undefined {
  if (type === 'utf8') return undefined;
  if (type === 'bool') return Math.ceil(rows / 8);
  return rows * physicalTypes[type].width;
}

/** The scalar type that has exactly this layout, so that a file may be used as it lies; undefined when there is none. */
export function scalarTypeOf(type: ArrowType): ItemType | undefined {
  switch (type.is) {
    case 'int':
      return itemTypeNames.find((name) => name === `${type.signed ? 'int' : 'uint'}${String(type.bits)}`);
    case 'float':
      return type.bits === 32 ? 'float32' : type.bits === 64 ? 'float64' : undefined;
    case 'bool':
      return 'bool';
    case 'utf8':
      return type.large ? undefined : 'utf8';
    case 'timestamp':
      return type.unit === 'ms' ? 'timestamp[ms]' : type.unit === 'us' ? 'timestamp[us]' : undefined;
    case 'date':
      return type.unit === 'day' ? 'date32' : undefined;
    case 'list':
    case 'other':
      return undefined;
  }
}

/** Arrow's name of a type, for messages. */
export function arrowTypeName(type: ArrowType): string {
  switch (type.is) {
    case 'int':
      return `${type.signed ? '' : 'u'}int${String(type.bits)}`;
    case 'float':
      return `float${String(type.bits)}`;
    case 'bool':
      return 'bool';
    case 'utf8':
      return type.large ? 'large_utf8' : 'utf8';
    case 'timestamp':
      return `timestamp[${type.unit}]`;
    case 'date':
      return type.unit === 'day' ? 'date32' : 'date64';
    case 'list':
      return 'list';
    case 'other':
      return type.name;
  }
}
