/**
 * A pipeline of three stages that can be held at a block from outside, so that a failure meets them where it is meant to.
 *
 * `come.mjs`, which all three call first, writes down in the folder of the node's SSD which block was come to, and waits while a file
 * there names that block. On a machine without that folder, a laptop, it does nothing: the result is the same.
 */
import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { RunSummary } from '../../../runtime/cli/summary.js';
import { entryPath } from '../../../runtime/platform/entries.js';
import { ssdDir } from './cluster.js';

export const heldStages = ['first', 'second', 'third'] as const;
export type HeldStage = (typeof heldStages)[number];
/** Of each stage. */
export const heldBlocks = 4;
const blockRows = 100;

const come = `
import { appendFileSync, existsSync, readFileSync, unlinkSync, watch } from 'node:fs';

const folder = '/podline-ssd/held';
const growthMax = 2 ** 32;

/** Until the container has more memory than it may have. */
function grow() {
  const taken = [];
  for (let bytes = 0; bytes < growthMax; bytes += 2 ** 24) taken.push(Buffer.alloc(2 ** 24, 1));
  throw new Error('nobody has ended a container of ' + taken.length + ' blocks of 16 MiB');
}

const gone = (file, signal) =>
  new Promise((resolve, reject) => {
    const watcher = watch(folder, () => look());
    const end = (then) => {
      watcher.close();
      signal.removeEventListener('abort', aborted);
      then();
    };
    const aborted = () => end(() => reject(signal.reason));
    const look = () => {
      if (!existsSync(file)) end(resolve);
    };
    signal.addEventListener('abort', aborted);
    look();
  });

export async function come(stage, ctx) {
  if (!existsSync(folder)) return;
  const { key } = ctx.shard;
  const block = ctx.block.index;
  appendFileSync(folder + '/trace', JSON.stringify({ key, stage, block, pid: process.pid, atMs: Date.now() }) + '\\n');
  const file = [folder + '/' + key, stage, block].join('.');
  if (!existsSync(file)) return;
  if (readFileSync(file, 'utf8') === 'grow') {
    unlinkSync(file);
    grow();
  }
  await gone(file, ctx.signal);
}
`;

const stageCode = (name: HeldStage, from: string, to: string, keep = ''): string => `
import { column, defineStage } from 'podline';
import { come } from './come.mjs';

export default defineStage({
  input: { ${from}: 'int32' },
  output: { ${to}: 'int32' },${keep}
  async block(batch, ctx) {
    await come('${name}', ctx);
    const ${to} = column.int32(batch.rows);
    for (let row = 0; row < batch.rows; row++) ${to}.values[row] = batch.columns.${from}.values[row] * 3 + 1;
    return { columns: { ${to} } };
  },
});
`;

export const heldInput = {
  source: { inline: Array.from({ length: heldBlocks * blockRows }, (_, v) => ({ v })) },
  format: 'ndjson' as const,
  columns: { v: 'int32' },
  blockRows,
};

/** Writes manifest and stages into `dir`; answers the manifest's file. `spec` goes over what is there. */
export async function writeHeldPipeline(dir: string, name: string, spec: Record<string, unknown> = {}): Promise<string> {
  await writeFile(join(dir, 'come.mjs'), come);
  await writeFile(join(dir, 'first.mjs'), stageCode('first', 'v', 'a'));
  await writeFile(join(dir, 'second.mjs'), stageCode('second', 'a', 'b'));
  await writeFile(join(dir, 'third.mjs'), stageCode('third', 'b', 'c', "\n  keep: 'none',"));
  const stages = heldStages.map((stage, index) => ({
    name: stage,
    uses: `./${stage}.mjs`,
    workers: 1,
    resources: { memory: '128Mi' },
    ...(index === 0 ? {} : { after: [heldStages[index - 1]] }),
  }));
  const manifest = {
    apiVersion: 'podline.dev/v1alpha1',
    kind: 'Pipeline',
    metadata: { name },
    spec: {
      input: heldInput,
      scratch: { size: '64Mi' },
      slots: 2,
      streaming: 'off',
      stages,
      checkpoints: { ssd: 'stage', major: 'stage' },
      retries: { backoff: { initial: '500ms', max: '2s' } },
      result: { format: 'ndjson' },
      ...spec,
    },
  };
  const file = join(dir, `${name}.json`);
  await writeFile(file, JSON.stringify(manifest));
  return file;
}

/** The hash of its result as processes on this machine: what every run in the cluster must have. */
export async function hashOnLaptop(manifest: string, dir: string): Promise<string> {
  const args = ['run', manifest, '--work-dir', join(dir, 'work'), '--result-dir', join(dir, 'results'), '--json'];
  const { stdout } = await promisify(execFile)(process.execPath, [entryPath('runtime/cli/main'), ...args]);
  const hash = (JSON.parse(stdout) as RunSummary).results[0]?.hash;
  if (hash === undefined) throw new Error(`no result on this machine: ${stdout}`);
  return hash;
}

/** One call of a stage for a block, as it told of it itself. */
export interface Call {
  key: string;
  stage: HeldStage;
  block: number;
  pid: number;
  atMs: number;
  node: number;
}

/** Files of the nodes' SSDs by which stages are held, and in which they tell. */
export class Holds {
  constructor(private readonly nodes: readonly number[]) {}

  static async on(nodes: readonly number[]): Promise<Holds> {
    for (const node of nodes) {
      const folder = join(ssdDir(node), 'held');
      await rm(folder, { recursive: true, force: true });
      await mkdir(folder, { recursive: true });
      await chmod(folder, 0o777);
    }
    return new Holds(nodes);
  }

  /** From now on the stage waits at that block of the shard. `grow`: it takes memory instead, until it is killed. */
  async hold(key: string, stage: HeldStage, block: number, how: 'wait' | 'grow' = 'wait'): Promise<void> {
    for (const node of this.nodes) await writeFile(this.#file(node, key, stage, block), how);
  }

  async release(key: string, stage: HeldStage, block: number): Promise<void> {
    for (const node of this.nodes) await rm(this.#file(node, key, stage, block), { force: true });
  }

  /** Calls for the shard so far, in the order in which they were told on each node. */
  async calls(key: string): Promise<Call[]> {
    const told = await Promise.all(
      this.nodes.map(async (node) => {
        const text = await readFile(join(ssdDir(node), 'held', 'trace'), 'utf8').catch(() => '');
        const lines = text.split('\n').filter((line) => line !== '');
        return lines.map((line) => ({ ...(JSON.parse(line) as Omit<Call, 'node'>), node }));
      }),
    );
    return told.flat().filter((call) => call.key === key);
  }

  async remove(): Promise<void> {
    for (const node of this.nodes) await rm(join(ssdDir(node), 'held'), { recursive: true, force: true });
  }

  #file(node: number, key: string, stage: HeldStage, block: number): string {
    return join(ssdDir(node), 'held', `${key}.${stage}.${String(block)}`);
  }
}
