/** A shard with one stream of every column type, and how it reads. */
import type { ColumnSchema, ColumnType, StreamKind } from '../../../runtime/contracts/block.js';
import type { ColumnData, Scratch, Utf8Data } from '../../../runtime/scratch/types.js';
import type { WriteResultRequest } from '../../../runtime/results/types.js';
import { lineagesOf, shardId, utf8 } from '../checkpoints/fixture.js';

const bits = (values: boolean[]): Uint8Array => {
  const bytes = new Uint8Array(Math.ceil(values.length / 8));
  values.forEach((value, index) => {
    if (value) bytes[index >> 3] = (bytes[index >> 3] ?? 0) | (1 << (index & 7));
  });
  return bytes;
};
const strings = (values: string[]): Utf8Data => {
  const column = utf8(values);
  return { length: values.length, offsets: column.offsets ?? new Int32Array(1), values: column.values as Uint8Array };
};
const column = (
  type: ColumnType,
  values: ColumnData['values'],
  rows: number,
  present?: boolean[],
  dictionary?: Utf8Data,
): ColumnData => ({
  type,
  rows,
  values,
  nullCount: present?.filter((is) => !is).length ?? 0,
  ...(present === undefined ? {} : { validity: bits(present) }),
  ...(dictionary === undefined ? {} : { dictionary }),
});

/** Three rows a block: ordinary, extreme, and null where the column may be. The dictionaries of the two blocks differ. */
export const table: { schema: ColumnSchema[]; blocks: Record<string, ColumnData>[] } = {
  schema: (
    [
      ['i8', 'int8'],
      ['i16', 'int16'],
      ['i32', 'int32'],
      ['i64', 'int64'],
      ['u8', 'uint8'],
      ['u16', 'uint16'],
      ['u32', 'uint32'],
      ['u64', 'uint64'],
      ['f32', 'float32'],
      ['f64', 'float64'],
      ['yes', 'bool'],
      ['text', 'utf8'],
      ['code', 'dictionary'],
      ['ms', 'timestamp[ms]'],
      ['us', 'timestamp[us]'],
      ['day', 'date32'],
      ['nums', 'list<int32>'],
      ['words', 'list<utf8>'],
    ] as const
  ).map(([name, type]) => ({
    name,
    type,
    nullable: ['i32', 'i64', 'f64', 'yes', 'text', 'code', 'ms', 'day', 'nums'].includes(name),
  })),
  blocks: [0, 1].map((block) => {
    const gap = [true, true, false];
    return {
      i8: column('int8', Int8Array.of(1, -128, 127), 3),
      i16: column('int16', Int16Array.of(1, -32768, 32767), 3),
      i32: column('int32', Int32Array.of(1, -2147483648, 0), 3, gap),
      i64: column('int64', BigInt64Array.of(1n, -(2n ** 63n), 0n), 3, gap),
      u8: column('uint8', Uint8Array.of(1, 0, 255), 3),
      u16: column('uint16', Uint16Array.of(1, 0, 65535), 3),
      u32: column('uint32', Uint32Array.of(1, 0, 4294967295), 3),
      u64: column('uint64', BigUint64Array.of(1n, 0n, 2n ** 64n - 1n), 3),
      f32: column('float32', Float32Array.of(1.5, -0.25, 3), 3),
      f64: column('float64', Float64Array.of(0.1, NaN, 0), 3, gap),
      yes: column('bool', bits([true, false, false]), 3, gap),
      text: utf8([`plain ${String(block)}`, 'a "quote", a\nline and ü€𐍈', null]),
      code: column('dictionary', Int32Array.of(0, 1, 0), 3, gap, strings(block === 0 ? ['JFK', 'LAX'] : ['LAX', 'SFO'])),
      ms: column('timestamp[ms]', BigInt64Array.of(978307200123n, -1n, 0n), 3, gap),
      us: column('timestamp[us]', BigInt64Array.of(978307200123456n, -1n, 0n), 3),
      day: column('date32', Int32Array.of(11323, -1, 0), 3, gap),
      nums: {
        ...column('list<int32>', new Uint8Array(0), 3, gap),
        offsets: Int32Array.of(0, 3, 3, 3),
        items: column('int32', Int32Array.of(1, 0, 3), 3, [true, false, true]),
      },
      words: {
        ...column('list<utf8>', new Uint8Array(0), 3),
        offsets: Int32Array.of(0, 2, 3, 4),
        items: utf8(['a "x"', '', null, 'ü']),
      },
    };
  }),
};

/** How rows 0–2 of block 0 read, as JSON values; the text and code of block 1 differ. */
export const rowsAsJson = [0, 1].flatMap((block) => [
  {
    i8: 1,
    i16: 1,
    i32: 1,
    i64: 1,
    u8: 1,
    u16: 1,
    u32: 1,
    u64: 1,
    f32: 1.5,
    f64: 0.1,
    yes: true,
    text: `plain ${String(block)}`,
    code: block === 0 ? 'JFK' : 'LAX',
    ms: '2001-01-01T00:00:00.123Z',
    us: '2001-01-01T00:00:00.123456Z',
    day: '2001-01-01',
    nums: [1, null, 3],
    words: ['a "x"', ''],
  },
  {
    i8: -128,
    i16: -32768,
    i32: -2147483648,
    i64: -9223372036854775808n,
    u8: 0,
    u16: 0,
    u32: 0,
    u64: 0,
    f32: -0.25,
    f64: null,
    yes: false,
    text: 'a "quote", a\nline and ü€𐍈',
    code: block === 0 ? 'LAX' : 'SFO',
    ms: '1969-12-31T23:59:59.999Z',
    us: '1969-12-31T23:59:59.999999Z',
    day: '1969-12-31',
    nums: [],
    words: [null],
  },
  {
    i8: 127,
    i16: 32767,
    i32: null,
    i64: null,
    u8: 255,
    u16: 65535,
    u32: 4294967295,
    u64: 18446744073709551615n,
    f32: 3,
    f64: null,
    yes: null,
    text: null,
    code: null,
    ms: null,
    us: '1970-01-01T00:00:00.000000Z',
    day: null,
    nums: null,
    words: ['ü'],
  },
]);

/** Fills the stream `count` of the shard and seals it. */
export async function fill(
  scratch: Scratch,
  stream:
    | { kind: 'table'; blocks?: Record<string, ColumnData>[] }
    | { kind: 'bytes'; pieces: Uint8Array[] }
    | { kind: 'files'; files: [string, Uint8Array][] },
  options: { version?: string; epoch?: number; seal?: boolean } = {},
): Promise<void> {
  const lineage = lineagesOf(options.version === undefined ? {} : { count: options.version }).get('count');
  if (lineage === undefined) throw new Error('no lineage');
  const run = { runId: `count.${options.version ?? 'v1'}.${String(options.epoch ?? 1)}`, epoch: options.epoch ?? 1 };
  await scratch.beginRun(shardId, 'count', run);
  const kind: StreamKind = stream.kind;
  const writer = await scratch.openWriter({
    shardId,
    stream: 'count',
    kind,
    schema: kind === 'table' ? table.schema : [],
    lineage,
    run,
  });
  if (stream.kind === 'table') {
    for (const block of stream.blocks ?? table.blocks) {
      const columns = Object.entries(block).map(([name, data]) => ({ name, data }));
      await writer.appendTable(columns[0]?.data.rows ?? 0, columns);
    }
  } else if (stream.kind === 'bytes') {
    for (const piece of stream.pieces) await writer.appendBytes(piece);
  } else {
    for (const [name, piece] of stream.files) await writer.appendFile(name, piece);
  }
  if (options.seal !== false) await writer.seal();
  await writer.close();
}

export const request = (scratch: Scratch, resultDir: string, over: Partial<WriteResultRequest> = {}): WriteResultRequest => ({
  scratch,
  shardId,
  shardKey: 'flights/2001 part 1',
  pipeline: { name: 'flights', revision: 1 },
  lineages: lineagesOf(),
  resultStages: ['count'],
  resultDir,
  format: 'ndjson',
  epoch: 1,
  ...over,
});
