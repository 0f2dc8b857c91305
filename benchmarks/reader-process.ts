/** How fast readers are by themselves, nothing kept: the entry of a process that reads one file a few times and prints the best of them. */
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { parquetMetadataAsync, parquetRead } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { pipelineSpecSchema, type InputFormat } from '../runtime/contracts/manifest.js';
import { openSource } from '../runtime/sources/open-source.js';
import { openTable } from '../runtime/sources/open-table.js';

/** Each in ms. */
export interface ReaderTimes {
  /** The library, where the format has one that is not ours. */
  libraryMs?: number | undefined;
  /** Podline's reader, its columns thrown away. */
  readerMs: number;
}

const times = 3;

async function bestOf(call: () => Promise<void>): Promise<number> {
  let bestMs = Number.POSITIVE_INFINITY;
  for (let i = 0; i < times; i++) {
    const beganMs = performance.now();
    await call();
    bestMs = Math.min(bestMs, performance.now() - beganMs);
  }
  return bestMs;
}

/** Every column of every row group, as the library hands them over: decoded, a chunk of a column at a time. */
async function byHyparquet(path: string): Promise<void> {
  const content = readFileSync(path);
  const file = content.buffer.slice(content.byteOffset, content.byteOffset + content.byteLength);
  const metadata = await parquetMetadataAsync(file);
  let values = 0;
  await parquetRead({ file, metadata, compressors, onChunk: ({ columnData }) => (values += columnData.length) });
  if (values === 0) throw new Error(`${path} has no values`);
}

async function byPodline(path: string, format: InputFormat, wishes: object): Promise<void> {
  const reader = await openSource(path);
  try {
    const table = await openTable({ uri: path, format }, { reader }, pipelineSpecSchema.shape.input.parse({ format, ...wishes }));
    let rows = 0;
    for await (const batch of table.batches(0)) rows += batch.rows;
    await table.close();
    if (rows === 0) throw new Error(`${path} has no rows`);
  } finally {
    await reader.close();
  }
}

const [path = '', format = '', wishes = '{}'] = process.argv.slice(2);
const found: ReaderTimes = {
  readerMs: await bestOf(() => byPodline(path, format as InputFormat, JSON.parse(wishes) as object)),
  ...(format === 'parquet' ? { libraryMs: await bestOf(() => byHyparquet(path)) } : {}),
};
console.log(JSON.stringify(found));
