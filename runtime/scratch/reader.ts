/** Columns and payloads of committed blocks of one shard; see `ShardReader` for what they are views of. */
import type { ArrayRef, BlockRecord, BufferRef, ColumnRef, ColumnType } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { hasOffsets, itemTypeOf, physicalTypes, valueBytes } from './arrow/types.js';
import { gather } from './gather.js';
import type { SegmentViews } from './segment-views.js';
import type { ColumnData, ShardReader, Utf8Data } from './types.js';

/** Dictionaries that are kept, so that blocks that share one give the same object. */
/** Columns of a block that are made ready: most stages read fewer. */
const touchedMax = 32;
const dictionariesMax = 256;

export class BlockReader implements ShardReader {
  readonly #dictionaries = new Map<string, Utf8Data>();

  constructor(
    private readonly views: SegmentViews,
    private readonly onClose: (reader: BlockReader) => void,
  ) {}

  get read(): { memory: number; ssd: number } {
    return { ...this.views.read };
  }

  table(block: BlockRecord, columns?: readonly string[]): Map<string, ColumnData> {
    const wanted = columns && new Set(columns);
    const table = new Map<string, ColumnData>();
    for (const ref of block.columns) {
      if (!wanted || wanted.delete(ref.name)) table.set(ref.name, this.column(ref, block.rows));
    }
    const [missing] = wanted ?? [];
    if (missing !== undefined) {
      throw new PodlineError(
        'PDL_STAGE_COLUMNS',
        `block ${String(block.seq)} has no column \`${missing}\`; it has ${block.columns.map((ref) => ref.name).join(', ')}`,
      );
    }
    return table;
  }

  column(ref: ColumnRef, rows: number, how: 'gathered' | 'selected' = 'gathered'): ColumnData {
    if (ref.freed)
      throw new PodlineError('PDL_SCRATCH_CORRUPT', `column \`${ref.name}\` was freed: nothing was to read it any more`, {
        place: ref.values.segment,
      });
    const { selection } = ref;
    const data = this.#read(ref.type, ref, selection?.rows ?? rows);
    if (ref.dictionary) data.dictionary = this.#dictionary(ref.dictionary);
    if (!selection) return data;
    const picked = this.#array(Uint32Array, selection.indices, rows * 4) as Uint32Array;
    return how === 'selected' ? { ...data, selection: picked } : gather(data, picked);
  }

  /** An array without its dictionary; lists with their items. */
  #read(type: ColumnType, ref: ArrayRef & Pick<ColumnRef, 'items'>, rows: number): ColumnData {
    const { nullCount } = ref;
    const data: ColumnData = { type, rows, nullCount, values: new Uint8Array(0) };
    if (nullCount > 0 && ref.validity) data.validity = this.#bytes(ref.validity, Math.ceil(rows / 8));
    if (hasOffsets(type)) data.offsets = this.#offsets(ref.offsets, rows);
    const item = itemTypeOf(type);
    if (item && ref.items) data.items = this.#read(item, ref.items, ref.items.rows);
    else if (type === 'utf8') data.values = this.#bytes(ref.values, ref.values.length);
    else data.values = this.#array(physicalTypes[type].array, ref.values, valueBytes(type, rows) ?? 0);
    return data;
  }

  payload(block: BlockRecord): Uint8Array {
    if (!block.payload) throw new PodlineError('PDL_INTERNAL', `block ${String(block.seq)} is a block of columns, not of bytes`);
    return this.#bytes(block.payload, block.payload.length);
  }

  touch({ payload, columns }: BlockRecord): void {
    for (const { segment, offset, length } of payload ? [payload] : columns.slice(0, touchedMax).map(({ values }) => values))
      this.views.touch(segment, offset, length);
  }

  settle(): void {
    this.views.settle();
  }

  close(): void {
    this.views.close();
    this.#dictionaries.clear();
    this.onClose(this);
  }

  #dictionary(ref: NonNullable<ColumnRef['dictionary']>): Utf8Data {
    const key = `${ref.offsets.segment}:${String(ref.offsets.offset)}`;
    let dictionary = this.#dictionaries.get(key);
    if (!dictionary) {
      // Copied, because it outlives the blocks that share it.
      dictionary = {
        length: ref.length,
        offsets: this.#offsets(ref.offsets, ref.length).slice(),
        values: this.#bytes(ref.values, ref.values.length).slice(),
      };
      if (this.#dictionaries.size >= dictionariesMax) this.#dictionaries.clear();
      this.#dictionaries.set(key, dictionary);
    }
    return dictionary;
  }

  /** Arrow lets the offsets of no rows be no bytes; here there is always one more than rows. */
  #offsets(ref: BufferRef | undefined, length: number): Int32Array {
    if (!ref || ref.length === 0) return new Int32Array(length + 1);
    return this.#array(Int32Array, ref, (length + 1) * 4) as Int32Array;
  }

  #bytes(ref: BufferRef, length: number): Uint8Array {
    return this.#array(Uint8Array, ref, length) as Uint8Array;
  }

  #array(array: (typeof physicalTypes)[keyof typeof physicalTypes]['array'], ref: BufferRef, bytes: number): ArrayBufferView {
    if (bytes > ref.length)
      throw new PodlineError(
        'PDL_SCRATCH_CORRUPT',
        `a buffer of ${String(ref.length)} bytes in ${ref.segment} should hold ${String(bytes)}`,
      );
    const { buffer, byteOffset } = this.views.view(ref.segment, ref.offset, bytes);
    const count = bytes / array.BYTES_PER_ELEMENT;
    // What was adopted from another program may lie at multiples of less than its width: then it is copied.
    if (byteOffset % array.BYTES_PER_ELEMENT !== 0)
      return new array(buffer.slice(byteOffset, byteOffset + bytes) as ArrayBuffer, 0, count);
    return new array(buffer as ArrayBuffer, byteOffset, count);
  }
}
