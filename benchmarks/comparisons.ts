/** The workloads that are compared: what each one's shard is, and who takes part beside the peers. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { BenchOptions, Place } from './options.js';
import { bareNew, bareReused } from './runners/bare.js';
import { podline, podlineSteps, podlineThread, podlineTurns } from './runners/podline.js';
import type { Peer } from './runners/runner.js';
import { writeBytes, writeNumbers, writeOrders } from './work/generate.js';
import type { BytesWork, Job, NumbersWork, Work } from './work/work.js';
import { largeSource, prepareWorkload } from './workload.js';

export interface Comparison {
  name: string;
  title: string;
  work: Work;
  source: Job['source'];
  shardBytes: number;
  rows?: number | undefined;
  stages: number;
  runners: Peer[];
  /** Whose result is the reference, where the checker has none. */
  referenceBy?: string | undefined;
}

export const blockBytes = 4 * 1024 * 1024;
export const blockRows = 65_536;

export const bytesWork = (stage: BytesWork['stage'], stages: number): BytesWork => ({
  kind: 'bytes',
  name: stage,
  stages,
  stage,
  blockBytes,
});
export const numbersWork: NumbersWork = { kind: 'numbers', name: 'numbers', stages: 5, blockRows };

type Make = (place: Place, options: BenchOptions) => Promise<Comparison>;

const bytesComparison =
  (name: 'pass' | 'xor', title: string, own: Peer[]): Make =>
  async ({ memoryDir }, { seed, scale, peers }) => {
    const shardBytes = Math.ceil((256 * 1024 * 1024 * scale) / 4096) * 4096;
    const uri = join(memoryDir, `${name}.bin`);
    writeBytes(uri, shardBytes, seed);
    return {
      name,
      title,
      work: bytesWork(name, 5),
      source: { uri, format: 'bytes' },
      shardBytes,
      stages: 5,
      runners: [...own, ...peers],
    };
  };

const numbers: Make = async ({ memoryDir }, { seed, scale, peers }) => {
  const rows = Math.ceil(1_000_000 * scale);
  const uri = join(memoryDir, 'numbers.arrow');
  await writeNumbers(uri, rows, seed, blockRows);
  return {
    name: 'numbers',
    title: `(b) ${rows.toLocaleString('en-US')} records of eight numbers, five stages`,
    work: numbersWork,
    source: { uri, format: 'arrow' },
    shardBytes: (await stat(uri)).size,
    rows,
    stages: 5,
    runners: [podline, podlineSteps, ...peers],
  };
};

const orders: Make = async ({ memoryDir }, { seed, scale, peers }) => {
  const rows = Math.ceil(1_000_000 * scale);
  const uri = join(memoryDir, 'orders.ndjson');
  writeOrders(uri, rows, seed);
  return {
    name: 'orders',
    title: `(c) NDJSON in, five stages, NDJSON out: ${rows.toLocaleString('en-US')} orders`,
    work: { kind: 'orders', name: 'orders', stages: 5, blockRows },
    source: { uri, format: 'ndjson' },
    shardBytes: (await stat(uri)).size,
    rows,
    stages: 5,
    runners: [podline, podlineTurns, ...peers],
  };
};

const flights: Make = async ({ diskDir }, { scale, peers }) => {
  const workload = await prepareWorkload(join(diskDir, 'flight-stages'));
  const all = 3_000_000;
  const rows = Math.ceil(all * scale);
  return {
    name: 'flights',
    title: `(d) the flights pipeline, ${rows.toLocaleString('en-US')} rows`,
    work: { kind: 'flights', name: 'flights', workload },
    source: largeSource(workload, rows === all ? undefined : rows),
    shardBytes: (await stat(workload.sourceFile)).size,
    rows,
    stages: workload.pipeline.stages.length,
    runners: [podline, podlineTurns, ...peers],
    referenceBy: 'one-process',
  };
};

export const comparisons: Readonly<Record<string, Make>> = {
  pass: bytesComparison('pass', '(a) bytes through five stages, only handed over', [podline, podlineSteps]),
  xor: bytesComparison('xor', '(a) bytes through five stages, XOR in each', [
    podline,
    podlineSteps,
    podlineThread,
    bareNew,
    bareReused,
  ]),
  numbers,
  orders,
  flights,
};
