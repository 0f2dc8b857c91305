/** Parquet: a row group per block, Snappy, nullable columns optional, the rest required. */
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import type { SchemaElement } from 'hyparquet';
import type { ColumnSchema, ItemType, ScalarType } from '../contracts/block.js';
import type { ColumnData } from '../scratch/types.js';
import { isSet, stringReader, stringsOf } from './cells.js';
import type { FileSink } from './sink.js';

/** A writer of hyparquet whose bytes go on to the sink after each row group. */
class SinkWriter extends ByteWriter {
  constructor(private readonly sink: FileSink) {
    super(64 * 1024);
  }

  flush(): void {
    this.sink.write(new Uint8Array(this.buffer.slice(0, this.index)));
    this.index = 0;
  }

  override finish(): void {
    this.flush();
  }
}

export class ParquetTable {
  readonly #writer: ParquetWriter;

  constructor(
    sink: FileSink,
    private readonly schema: readonly ColumnSchema[],
  ) {
    const elements: SchemaElement[] = [{ name: 'root', num_children: schema.length }, ...schema.flatMap(schemaElements)];
    this.#writer = new ParquetWriter({ writer: new SinkWriter(sink), schema: elements, createdBy: 'podline' });
  }

  async append(rows: number, columns: ReadonlyMap<string, ColumnData>): Promise<void> {
    if (rows === 0) return;
    const columnData = this.schema.map(({ name }) => {
      const column = columns.get(name);
      return { name, data: column === undefined ? new Array<null>(rows).fill(null) : parquetValues(column) };
    });
    await this.#writer.write({ columnData, rowGroupSize: rows });
  }

  async finish(): Promise<void> {
    await this.#writer.finish();
  }
}

const physical: Record<ScalarType, Omit<SchemaElement, 'name'>> = {
  int8: { type: 'INT32', converted_type: 'INT_8' },
  int16: { type: 'INT32', converted_type: 'INT_16' },
  int32: { type: 'INT32' },
  int64: { type: 'INT64' },
  uint8: { type: 'INT32', converted_type: 'UINT_8' },
  uint16: { type: 'INT32', converted_type: 'UINT_16' },
  uint32: { type: 'INT32', converted_type: 'UINT_32' },
  uint64: { type: 'INT64', converted_type: 'UINT_64' },
  float32: { type: 'FLOAT' },
  float64: { type: 'DOUBLE' },
  bool: { type: 'BOOLEAN' },
  utf8: { type: 'BYTE_ARRAY', converted_type: 'UTF8' },
  dictionary: { type: 'BYTE_ARRAY', converted_type: 'UTF8' },
  'timestamp[ms]': { type: 'INT64', converted_type: 'TIMESTAMP_MILLIS' },
  'timestamp[us]': { type: 'INT64', converted_type: 'TIMESTAMP_MICROS' },
  date32: { type: 'INT32', converted_type: 'DATE' },
};

function schemaElements({ name, type, nullable }: ColumnSchema): SchemaElement[] {
  const repetition_type = nullable ? 'OPTIONAL' : 'REQUIRED';
  if (!isListType(type)) return [{ name, repetition_type, ...physical[type] }];
  // The three levels that the format prescribes; items may always be null.
  return [
    { name, repetition_type, converted_type: 'LIST', logical_type: { type: 'LIST' }, num_children: 1 },
    { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
    { name: 'element', repetition_type: 'OPTIONAL', ...physical[type.slice(5, -1) as ItemType] },
  ];
}

const isListType = (type: ColumnSchema['type']): type is Exclude<ColumnSchema['type'], ScalarType> => type.startsWith('list<');

type Values = Parameters<ParquetWriter['write']>[0]['columnData'][number]['data'];

function parquetValues(column: ColumnData): Values {
  const values = plainValues(column);
  const { validity, nullCount } = column;
  if (validity === undefined || nullCount === 0) return values;
  return Array.from(values, (value: unknown, row) => (isSet(validity, row) ? value : null));
}

function plainValues(column: ColumnData): Values {
  const { type, rows, values } = column;
  if (column.items !== undefined) {
    const items = Array.from(parquetValues(column.items) as ArrayLike<unknown>);
    const { offsets = new Int32Array(rows + 1) } = column;
    return Array.from({ length: rows }, (_, row) => items.slice(offsets[row], offsets[row + 1]));
  }
  if (type === 'utf8') {
    const read = stringReader({ offsets: column.offsets ?? new Int32Array(rows + 1), values: values as Uint8Array });
    return Array.from({ length: rows }, (_, row) => read(row));
  }
  if (type === 'dictionary') {
    const strings = column.dictionary === undefined ? [] : stringsOf(column.dictionary);
    return Array.from(values as Int32Array, (code) => strings[code] ?? '');
  }
  if (type === 'bool') return Array.from({ length: rows }, (_, row) => isSet(values as Uint8Array, row));
  // As a Uint32Array the writer would refuse what is over 2^31 - 1 (seen in hyparquet-writer 0.17); as numbers it does not.
  if (type === 'uint32') return Array.from(values as Uint32Array);
  return values as Int32Array;
}
