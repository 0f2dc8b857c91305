/** The builder of a column by its type. */
import type { ColumnType } from '../contracts/block.js';
import { itemTypeOf } from '../scratch/arrow/types.js';
import type { ColumnBuilder } from './column-builder.js';
import { ListBuilder } from './list-builder.js';
import { BoolBuilder, NumberBuilder, WideBuilder } from './number-builders.js';
import { DictionaryBuilder, TextBuilder } from './text-builders.js';

/** A builder for up to `rowsMax` rows between two calls of `take`. */
export function columnBuilder(name: string, type: ColumnType, rowsMax: number): ColumnBuilder {
  switch (type) {
    case 'utf8':
      return new TextBuilder(type, rowsMax);
    case 'dictionary':
      return new DictionaryBuilder(name, rowsMax);
    case 'bool':
      return new BoolBuilder(type, rowsMax);
    case 'int64':
    case 'uint64':
    case 'timestamp[ms]':
    case 'timestamp[us]':
      return new WideBuilder(type, rowsMax);
    default: {
      const item = itemTypeOf(type);
      return item === undefined
        ? new NumberBuilder(type, rowsMax)
        : new ListBuilder(type, rowsMax, columnBuilder(name, item, rowsMax));
    }
  }
}
