/**
 * Swaps in a row over several pods, 100 of them or as many as PODLINE_CLUSTER_SWAPS says: none is lost, none doubled, none ends in
 * back-off. Beside them, in the same run, what else could bring the next stage to the data: re-creating the pod; and what a line
 * does, which is to hand over to a slot that was swapped while the stage before worked.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { KruiseDriver } from '../../runtime/cluster/kruise-driver.js';
import { openKube } from '../../runtime/cluster/kube.js';
import type { DriverEvent } from '../../runtime/contracts/driver.js';
import { pipelineSchema, type Pipeline } from '../../runtime/contracts/manifest.js';
import { packageRoot } from '../../runtime/platform/entries.js';
import { silentLogger } from '../../runtime/platform/logger.js';
import { needs } from '../support/require.js';
import { clusterScript, eventually, kubeconfig, kubectl, kubectlJson } from './support/cluster.js';
import { keepFigures } from './support/figures.js';
import { PodLine } from './support/pod-line.js';

interface Start {
  slot: number;
  stage: string;
  step: string;
  atMs: number;
}
interface Pod {
  metadata: { uid: string; name: string };
  status: {
    phase: string;
    podIP?: string;
    containerStatuses?: { name: string; restartCount: number; state?: { waiting?: { reason?: string } } }[];
  };
}

const swapsMin = Number(process.env['PODLINE_CLUSTER_SWAPS'] ?? '100');
const lines = 4;
const swapsOfEach = Math.ceil(swapsMin / lines);
const recreations = 3;
const handovers = { shards: 100, rows: 4 };
/** Longer than a swap, so that one can be done behind it. */
const long = { stages: 5, ms: 3_000 };
const stageNames = ['load', 'clean', 'join', 'report'];

const quantile = (sorted: readonly number[], of: number): number =>
  sorted[Math.min(sorted.length - 1, Math.ceil(of * sorted.length) - 1)] ?? Number.NaN;
function rowOf(what: string, times: readonly number[]): object {
  const sorted = [...times].sort((a, b) => a - b);
  const ms = (value: number): string => (value < 10 ? value.toFixed(3) : value.toFixed(0));
  return {
    what,
    times: sorted.length,
    p50ms: ms(quantile(sorted, 0.5)),
    p99ms: ms(quantile(sorted, 0.99)),
    maxMs: ms(sorted.at(-1) ?? 0),
  };
}

const restartsOf = ({ status }: Pod): number =>
  (status.containerStatuses ?? [])
    .filter(({ name }) => name !== 'agent')
    .reduce((sum, { restartCount }) => sum + restartCount, 0);

const figures: object[] = [];

needs('cluster').describe('swaps in a row', () => {
  const namespace = `swaps-${String(process.pid)}`;
  const manifest = pipelineSchema.parse({
    apiVersion: 'podline.dev/v1alpha1',
    kind: 'Pipeline',
    metadata: { name: 'probe' },
    spec: { scratch: { size: '64Mi' }, stages: stageNames.map((name) => ({ name, uses: './stage.ts' })) },
  });
  const pipeline: Pipeline = {
    name: 'probe',
    revision: 1,
    spec: manifest.spec,
    stages: manifest.spec.stages.map((stage) => ({ ...stage, after: ['input'], version: 'v' })),
    baseDir: '/',
  };
  const events: DriverEvent[] = [];
  let driver: KruiseDriver;

  const podOf = (line: string) => kubectlJson<Pod>('-n', namespace, 'get', 'pod', line);
  const starts = async (ip: string): Promise<Start[]> => {
    const answer = await fetch(`http://${ip}:7070/`);
    if (answer.status === 404) return [];
    const text = await answer.text();
    return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Start]));
  };
  const ready = (line: string, notUid = ''): Promise<Pod> =>
    eventually(
      `the agent of ${line}`,
      async () => {
        const pod = await podOf(line);
        if (pod.metadata.uid === notUid || pod.status.podIP === undefined) return undefined;
        await starts(pod.status.podIP);
        return pod;
      },
      120_000,
    );

  beforeAll(async () => {
    await kubectl('create', 'namespace', namespace);
    const image = await clusterScript(['image', 'podline/probe'], {
      PODLINE_IMAGE_DIST: join(packageRoot, 'test', 'cluster', 'probe'),
    });
    driver = new KruiseDriver({
      kube: openKube({ namespace, kubeconfig, logger: silentLogger }),
      pods: {
        namespace,
        image,
        coordinatorUrl: 'http://10.88.0.1:7000',
        tokenSecret: 'podline-lines',
        ssdHostPath: '/mnt/ssd',
        volume: { hostPath: '/mnt/volume' },
        user: 10_001,
      },
      token: 'a-token',
      slotsOf: () => 2,
      logger: silentLogger,
      delay: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      random: Math.random,
    });
    driver.subscribe((event) => events.push(event));
    await driver.start(pipeline, lines);
    for (let line = 0; line < lines; line += 1) await ready(`probe-${String(line)}`);
  });

  afterAll(async () => {
    await driver?.stop();
    await kubectl('delete', 'namespace', namespace, '--wait=false');
  });

  needs('cluster').it(
    `over several pods, ${String(swapsOfEach * lines)} of them: none lost, none doubled, none in back-off`,
    async () => {
      const times: number[] = [];
      const oneAfterAnother = async (line: string): Promise<void> => {
        const before = await podOf(line);
        const ip = before.status.podIP ?? expect.fail(`${line} has no address`);
        const ordered: Omit<Start, 'atMs'>[] = [];
        for (let number = 0; number < swapsOfEach; number += 1) {
          const order = { slot: number % 2, stage: stageNames[number % stageNames.length] ?? '', step: `s${String(number)}` };
          ordered.push(order);
          const orderedMs = Date.now();
          await driver.swap({ line, pipeline, ...order });
          const start = await eventually(`the start of ${order.step} on ${line}`, async () =>
            (await starts(ip)).find(({ step }) => step === order.step),
          );
          times.push(start.atMs - orderedMs);
        }
        expect((await starts(ip)).map(({ slot, stage, step }) => ({ slot, stage, step }))).toEqual(ordered);
        // The kubelet tells of a start a moment after it.
        const after = await eventually(`the word of all starts on ${line}`, async () => {
          const pod = await podOf(line);
          return restartsOf(pod) >= swapsOfEach ? pod : undefined;
        });
        expect(restartsOf(after)).toBe(swapsOfEach);
        expect(after.metadata.uid).toBe(before.metadata.uid);
        expect(after.status.podIP).toBe(ip);
        expect(after.status.containerStatuses?.flatMap(({ state }) => state?.waiting?.reason ?? [])).toEqual([]);
      };
      await Promise.all(Array.from({ length: lines }, (_, line) => oneAfterAnother(`probe-${String(line)}`)));
      expect(times).toHaveLength(swapsOfEach * lines);
      expect(events.filter(({ type }) => type === 'slotEnded' || type === 'swapFailed' || type === 'lineEnded')).toEqual([]);
      figures.push(rowOf(`swap in the foreground, ${String(lines)} pods at once`, times));
    },
  );

  needs('cluster').it('beside swaps of one pod at rest, and beside pods that are created anew', async () => {
    const alone: number[] = [];
    const { podIP: ip = '' } = (await podOf('probe-0')).status;
    for (let number = 0; number < 2 * recreations; number += 1) {
      const step = `alone-${String(number)}`;
      const orderedMs = Date.now();
      await driver.swap({ line: 'probe-0', pipeline, slot: number % 2, stage: stageNames[number % 4] ?? '', step });
      const start = await eventually(step, async () => (await starts(ip)).find((one) => one.step === step));
      alone.push(start.atMs - orderedMs);
    }
    figures.push(rowOf('swap in the foreground, one pod', alone));
    const anew: number[] = [];
    for (let number = 0; number < recreations; number += 1) {
      const { uid } = (await podOf('probe-1')).metadata;
      const deletedMs = Date.now();
      await kubectl('-n', namespace, 'delete', 'pod', 'probe-1', '--wait=false');
      await ready('probe-1', uid);
      anew.push(Date.now() - deletedMs);
    }
    expect(anew).toHaveLength(recreations);
    figures.push(rowOf('pod created anew, until its agent answers', anew));
  });
});

needs('cluster').describe('stages that take turns in warm slots', () => {
  let dir: string;
  let line: PodLine | undefined;

  /** A pipeline of stages that each keep busy for so long. */
  const busy = async (name: string, stages: number, ms: number, rows: number, chunk: number): Promise<string> => {
    const names = Array.from({ length: stages }, (_, index) => `stage${String(index)}`);
    const code = `import { defineStage } from 'podline';
export default defineStage({ block(batch) {
  for (const untilMs = performance.now() + ${String(ms)}; performance.now() < untilMs; );
  return { columns: {} };
} });\n`;
    for (const stage of names) await writeFile(join(dir, `${name}-${stage}.mjs`), `// ${stage}\n${code}`);
    const file = join(dir, `${name}.json`);
    const pipeline = {
      apiVersion: 'podline.dev/v1alpha1',
      kind: 'Pipeline',
      metadata: { name },
      spec: {
        input: {
          source: { inline: Array.from({ length: rows }, (_, v) => ({ v })) },
          format: 'ndjson',
          columns: { v: 'int32' },
          chunk: { rows: chunk },
        },
        scratch: { size: '64Mi' },
        slots: 2,
        residents: 1,
        streaming: 'off',
        stages: names.map((stage, index) => ({
          name: stage,
          uses: `./${name}-${stage}.mjs`,
          workers: 1,
          resources: { memory: '128Mi' },
          ...(index === 0 ? {} : { after: [names[index - 1]] }),
        })),
        result: { format: 'ndjson' },
      },
    };
    await writeFile(file, JSON.stringify(pipeline));
    return file;
  };

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podline-warm-'));
  });
  afterAll(async () => {
    if (figures.length > 0) keepFigures('swaps', figures);
    await line?.close();
    await rm(dir, { recursive: true, force: true });
  });

  needs('cluster').it('are handed the shard without a swap', async () => {
    const { shards: count, rows } = handovers;
    line = await PodLine.start(await busy('handed', 2, 0, count * rows, rows), `handed-${String(process.pid)}`);
    const shards = await line.run('');
    expect(shards.map(({ state }) => state)).toEqual(shards.map(() => 'completed'));
    // The first shard brings the stages into their slots; they stay there.
    const warm = shards.filter(({ report }) => report?.swaps === 0);
    expect(warm).toHaveLength(count - 1);
    const reports = warm.flatMap(({ report }) => report?.stages ?? []);
    expect(reports.map(({ swapMs }) => swapMs)).toEqual(reports.map(() => 0));
    const [, second] = line.pipeline.stages;
    figures.push(
      rowOf(
        'hand-over to a warm slot',
        reports.filter(({ stage }) => stage === second?.name).map(({ handoverMs }) => handoverMs),
      ),
    );
    await line.close();
  });

  needs('cluster').it('are swapped behind the stage before where there are more of them than slots', async () => {
    line = await PodLine.start(await busy('behind', long.stages, long.ms, 4, 4), `behind-${String(process.pid)}`);
    const [shard] = await line.run('');
    const stages = shard?.report?.stages ?? [];
    expect(stages.map(({ runs }) => runs)).toEqual(stages.map(() => 1));
    expect(shard?.report?.swaps).toBe(long.stages);
    const workMs = stages.reduce((sum, stage) => sum + stage.workMs, 0);
    const wallMs = Date.parse(shard?.endedAt ?? '') - Date.parse(shard?.startedAt ?? '');
    // The first stage can be swapped behind nothing.
    const firstMs = stages[0]?.swapMs ?? 0;
    const percent = (ms: number): string => `${((100 * ms) / workMs - 100).toFixed(1)} %`;
    figures.push({
      what: `${String(long.stages)} stages in 2 slots`,
      stagesMs: workMs.toFixed(0),
      wallMs: wallMs.toFixed(0),
      over: percent(wallMs),
      overWithoutFirstSwap: percent(wallMs - firstMs),
    });
  });
});
