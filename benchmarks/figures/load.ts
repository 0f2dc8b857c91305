/** How fast sources of each format come into the scratch, against the readers by themselves. */
import { once } from 'node:events';
import { createReadStream, createWriteStream, rmSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { finished } from 'node:stream/promises';
import { jsonOf } from '../child-json.js';
import { blockBytes, blockRows } from '../comparisons.js';
import { Field } from '../field.js';
import type { BenchOptions, Place } from '../options.js';
import type { ReaderTimes } from '../reader-process.js';
import { madePipeline, ordersColumns, stageFile } from '../runners/podline-manifest.js';
import { PodlineRunner } from '../runners/podline.js';
import type { Peer } from '../runners/runner.js';
import { quantile } from '../statistics.js';
import { writeBytes, writeOrders } from '../work/generate.js';
import type { Job } from '../work/work.js';
import { prepareWorkload } from '../workload.js';

export interface LoadFigures {
  formats: LoadFigure[];
}

export interface LoadFigure {
  format: 'bytes' | 'parquet' | 'csv' | 'ndjson';
  sourceBytes: number;
  /** Podline's load: the source read into the scratch, committed. */
  loadMs: number[];
  /** Absent for bytes, whose limit is memcpy. */
  readers?: ReaderTimes | undefined;
}

interface Loaded {
  format: LoadFigure['format'];
  path: string;
  wishes: object;
}

const loader = ({ format, wishes }: Loaded): Peer => {
  const name = `load-${format}`;
  return {
    name,
    title: name,
    does: ['bytes'],
    make: (_, dir) => {
      const stages = [{ name: 'count', uses: stageFile(format === 'bytes' ? 'digest' : 'count') }];
      const input = format === 'bytes' ? { format, blockBytes } : { format, blockRows, ...wishes };
      return new PodlineRunner(name, name, madePipeline({ name, input, stages, measured: [] }, { streaming: 'off' }), dir);
    },
  };
};

export async function measureLoad(place: Place, options: BenchOptions): Promise<LoadFigures> {
  const sources = await sourcesOf(place, options);
  const formats: LoadFigure[] = [];
  try {
    for (const loaded of sources) {
      const { format, path, wishes } = loaded;
      const sourceBytes = (await stat(path)).size;
      const readers =
        format === 'bytes'
          ? undefined
          : await jsonOf<ReaderTimes>('benchmarks/reader-process', [path, format, JSON.stringify(wishes)], options.signal);
      const field = new Field(
        `load-${format}`,
        { kind: 'bytes', name: 'load', stages: 1, stage: 'pass', blockBytes },
        place,
        options,
      );
      try {
        const source: Job['source'] = { uri: path, format };
        const loadMs: number[] = [];
        if (!(await field.enter(loader(loaded), source, sourceBytes))) throw new Error('the line did not start');
        for (let round = 0; round < options.repeats; round++)
          await field.round(round, source, ({ told }) => loadMs.push(told?.['loadMs'] ?? Number.NaN));
        formats.push({ format, sourceBytes, loadMs, readers });
        options.say(`load ${format}: ${quantile(loadMs, 0.5).toFixed(0)} ms; readers ${JSON.stringify(readers ?? {})}`);
      } finally {
        await field.close();
      }
    }
    return { formats };
  } finally {
    for (const { format, path } of sources) if (format !== 'parquet') rmSync(path, { force: true });
  }
}

async function sourcesOf({ memoryDir, diskDir }: Place, { seed, scale }: BenchOptions): Promise<Loaded[]> {
  const bytes = join(memoryDir, 'load.bin');
  writeBytes(bytes, Math.ceil(256 * 1024 * 1024 * scale), seed);
  const ndjson = join(memoryDir, 'load.ndjson');
  writeOrders(ndjson, Math.ceil(1_000_000 * scale), seed);
  const csv = join(memoryDir, 'load.csv');
  await writeCsv(ndjson, csv);
  const { sourceFile } = await prepareWorkload(join(diskDir, 'load-stages'));
  const wishes = { columns: ordersColumns };
  return [
    { format: 'bytes', path: bytes, wishes: {} },
    { format: 'parquet', path: sourceFile, wishes: {} },
    { format: 'csv', path: csv, wishes },
    { format: 'ndjson', path: ndjson, wishes },
  ];
}

/** The same orders, with commas between. */
async function writeCsv(from: string, to: string): Promise<void> {
  const out = createWriteStream(to);
  out.write(`${Object.keys(ordersColumns).join(',')}\n`);
  for await (const line of createInterface({ input: createReadStream(from) })) {
    const row = Object.values(JSON.parse(line) as Record<string, unknown>).join(',');
    if (!out.write(`${row}\n`)) await once(out, 'drain');
  }
  out.end();
  await finished(out);
}
