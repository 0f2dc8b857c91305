/** Lists out of JSON arrays: offsets into a column of items, which may be null. Text is no list. */
import type { ColumnType } from '../contracts/block.js';
import type { ColumnData } from '../scratch/types.js';
import { ColumnBuilder } from './column-builder.js';

export class ListBuilder extends ColumnBuilder {
  #offsets: Int32Array;
  #items = 0;

  constructor(
    type: ColumnType,
    capacity: number,
    private readonly builder: ColumnBuilder,
  ) {
    super(type, capacity);
    this.#offsets = new Int32Array(capacity + 1);
  }

  override addText(): boolean {
    return false;
  }

  override addNumber(): boolean {
    return false;
  }

  override addBoolean(): boolean {
    return false;
  }

  /** Where an item does not fit, those before it stay: the caller gives the column up. */
  override addNested(value: object): boolean {
    if (!Array.isArray(value)) return false;
    this.builder.reserve(value.length);
    for (const item of value as unknown[]) {
      if (item === null) this.builder.addNull();
      else if (!this.builder.addValue(item)) return false;
    }
    this.#items += value.length;
    this.#offsets[this.rows + 1] = this.#items;
    return this.added();
  }

  protected override skip(): void {
    this.#offsets[this.rows + 1] = this.#items;
  }

  protected override resize(capacity: number): void {
    const grown = new Int32Array(capacity + 1);
    grown.set(this.#offsets.subarray(0, this.rows + 1));
    this.#offsets = grown;
  }

  protected override finish(): Pick<ColumnData, 'values' | 'offsets' | 'items'> {
    const offsets = this.#offsets.subarray(0, this.rows + 1);
    this.#offsets = new Int32Array(this.capacity + 1);
    this.#items = 0;
    return { values: new Uint8Array(0), offsets, items: this.builder.take() };
  }
}
