/**
 * Columns of lists: repetition levels into offsets, definition levels into what is null, and the items as any column.
 *
 * Only lists of plain values are read: one repetition level. An entry of a page is an item, or stands for a list that is null or has none.
 */
import { isUtf8 } from 'node:buffer';
import type { ItemType } from '../../contracts/block.js';
import { itemTypeOf } from '../../scratch/arrow/types.js';
import type { ColumnData } from '../../scratch/types.js';
import { bitBytes, sliceColumn } from '../columns.js';
import { decodeCodes, type Presence } from './hybrid.js';
import { dataPages, decompress, type DataPage } from './pages.js';
import { notText, type ChunkRequest } from './request.js';
import { ColumnSink } from './sink.js';

export function decodeLists(request: ChunkRequest): ColumnData {
  const { column, groupRows, meta, from, to } = request;
  const itemType = itemTypeOf(request.type);
  if (column.list === undefined || itemType === undefined) throw new RangeError(`${request.type} is no list`);
  const rows = new Rows(groupRows, column.list.isNullable ? 1 : 0, column.maxDefinition);
  const items = new ColumnSink(itemRequest(request, itemType, rows), Number(meta.num_values), 0);
  for (const page of dataPages({ ...request, type: itemType })) {
    const { repetitions, definitions, values } = levelsOf(page, request);
    const { presence, slots } = rows.add(repetitions, definitions);
    const encoding = (page.header.data_page_header ?? page.header.data_page_header_v2)?.encoding ?? 'PLAIN';
    items.addPage(values, encoding, page.dictionary, presence, slots);
  }
  const whole = rows.finish(request.type, items.finish());
  if (itemType === 'utf8' && !isUtf8(whole.items?.values as Uint8Array)) throw notText(request);
  if (whole.nullCount > 0 && !request.nullable) throw new RangeError('a list is null where none may be');
  return sliceColumn(whole, from, to);
}

const itemRequest = (request: ChunkRequest, type: ItemType, rows: Rows): ChunkRequest => ({
  ...request,
  type,
  rowOf: (item) => rows.rowOf(item),
});

interface Levels {
  repetitions: Int32Array;
  definitions: Int32Array;
  values: Buffer;
}

function levelsOf({ header, body, count }: DataPage, request: ChunkRequest): Levels {
  const width = 32 - Math.clz32(request.column.maxDefinition);
  const v2 = header.data_page_header_v2;
  if (v2 === undefined) {
    const page = decompress(body, header.uncompressed_page_size, request);
    let at = 0;
    const level = (bits: number): Int32Array => {
      const start = at + 4;
      at = start + page.readUInt32LE(at);
      if (at > page.length) throw new RangeError('its levels end behind the page');
      return decodeCodes(page, start, at, bits, count);
    };
    return { repetitions: level(1), definitions: level(width), values: page.subarray(at) };
  }
  const middle = v2.repetition_levels_byte_length;
  const end = middle + v2.definition_levels_byte_length;
  if (end > body.length) throw new RangeError('its levels end behind the page');
  const packed = body.subarray(end);
  return {
    repetitions: decodeCodes(body, 0, middle, 1, count),
    definitions: decodeCodes(body, middle, end, width, count),
    values: v2.is_compressed === false ? packed : decompress(packed, header.uncompressed_page_size - end, request),
  };
}

/** The lists so far: where their items begin, and which are null. */
class Rows {
  readonly #offsets: Int32Array;
  readonly #validity: Uint8Array;
  #rows = 0;
  #items = 0;
  #nulls = 0;

  /** An entry of level `empty` is a list without items, below it a null; of `full` a value. */
  constructor(
    private readonly rowsMax: number,
    private readonly empty: number,
    private readonly full: number,
  ) {
    this.#offsets = new Int32Array(rowsMax + 1);
    this.#validity = new Uint8Array(bitBytes(rowsMax));
  }

  /** Takes the levels of a page; what they say of its items. */
  add(repetitions: Int32Array, definitions: Int32Array): { presence: Presence; slots: number } {
    const bits = new Uint8Array(bitBytes(definitions.length));
    let present = 0;
    let slots = 0;
    for (let i = 0; i < definitions.length; i++) {
      const level = definitions[i] ?? 0;
      if (repetitions[i] === 0) this.#begin(level >= this.empty);
      else if (this.#rows === 0) throw new RangeError('its first item belongs to no list');
      if (level <= this.empty) continue;
      if (level === this.full) {
        bits[slots >> 3] = (bits[slots >> 3] ?? 0) | (1 << (slots & 7));
        present += 1;
      }
      slots += 1;
      this.#items += 1;
      this.#offsets[this.#rows] = this.#items;
    }
    return { presence: { present, bits: present === slots ? undefined : bits }, slots };
  }

  #begin(isThere: boolean): void {
    if (this.#rows >= this.rowsMax) throw new RangeError(`its pages hold more than ${String(this.rowsMax)} rows`);
    const row = this.#rows++;
    this.#offsets[this.#rows] = this.#items;
    if (isThere) this.#validity[row >> 3] = (this.#validity[row >> 3] ?? 0) | (1 << (row & 7));
    else this.#nulls += 1;
  }

  rowOf(item: number): number {
    let row = 0;
    while (row < this.rowsMax && (this.#offsets[row + 1] ?? 0) <= item) row += 1;
    return row;
  }

  finish(type: ColumnData['type'], items: ColumnData): ColumnData {
    if (this.#rows < this.rowsMax)
      throw new RangeError(`its pages end after ${String(this.#rows)} of ${String(this.rowsMax)} rows`);
    return {
      type,
      rows: this.#rows,
      nullCount: this.#nulls,
      validity: this.#nulls === 0 ? undefined : this.#validity,
      values: new Uint8Array(0),
      offsets: this.#offsets,
      items,
    };
  }
}
