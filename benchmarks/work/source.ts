/** How the first process of a peer reads a shard's source into its memory. */
import { readFile } from 'node:fs/promises';
import { pipelineSpecSchema } from '../../runtime/contracts/manifest.js';
import { openSource } from '../../runtime/sources/open-source.js';
import { openTable } from '../../runtime/sources/open-table.js';
import { type numberNames, type NumberRecord } from './stages.js';
import type { Job } from './work.js';

/** bytes and orders: the content of the source, whole. */
export async function readWhole({ source }: Job): Promise<Uint8Array> {
  if ('uri' in source) return readFile(source.uri);
  return Buffer.from((source.inline as { base64: string }).base64, 'base64');
}

/** Pieces of `pieceBytes`, as views. */
export function* piecesOf(content: Uint8Array, pieceBytes: number): Generator<Uint8Array> {
  for (let at = 0; at < content.length; at += pieceBytes) yield content.subarray(at, at + pieceBytes);
}

/** The columns of some records: `id` Int32Array, the others Float64Array. */
export interface NumberColumns {
  rows: number;
  columns: Record<string, Int32Array | Float64Array>;
}

/** numbers: with Podline's own reader, in blocks of `blockRows`, copied out of the file. */
export async function readNumbers({ source }: Job, blockRows: number): Promise<NumberColumns[]> {
  if (!('uri' in source)) throw new Error('the numbers lie in a file');
  const reader = await openSource(source.uri);
  try {
    const input = pipelineSpecSchema.shape.input.parse({ format: 'arrow', blockRows });
    const table = await openTable(source, { reader }, input);
    const blocks: NumberColumns[] = [];
    for await (const { rows, columns } of table.batches(0)) {
      const named = table.schema.map(({ name }, index) => {
        const values = columns[index]!.values as Int32Array | Float64Array;
        return [name, values.slice(0, rows)] as const;
      });
      blocks.push({ rows, columns: Object.fromEntries(named) });
    }
    await table.close();
    return blocks;
  } finally {
    await reader.close();
  }
}

/** As objects, for peers that carry records. */
export function recordsOf({ rows, columns }: NumberColumns): NumberRecord[] {
  const { id, a, b, c, d, e, f, x } = columns as Record<(typeof numberNames)[number], ArrayLike<number>>;
  return Array.from({ length: rows }, (_, row) => ({
    id: id[row]!,
    a: a[row]!,
    b: b[row]!,
    c: c[row]!,
    d: d[row]!,
    e: e[row]!,
    f: f[row]!,
    x: x[row]!,
  }));
}
