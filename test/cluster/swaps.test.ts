/**
 * Swaps in a row over several pods, 100 of them or as many as PODLINE_CLUSTER_SWAPS says: none is lost, none doubled, none ends in
 * back-off. Beside them, in the same run, what else could bring the next stage to the data: re-creating the pod; and what a line
 * does, which is to hand over to a slot that was swapped while the stage before worked.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { needs } from '../support/require.js';
import { eventually, kubectl, type Pod } from './support/cluster.js';
import { keepFigures } from './support/figures.js';
import { PodLine } from './support/pod-line.js';
import { ProbeLines } from './support/probe-lines.js';

const swapsMin = Number(process.env['PODLINE_CLUSTER_SWAPS'] ?? '100');
const lines = 4;
const swapsOfEach = Math.ceil(swapsMin / lines);
const recreations = 3;
/** A stage that does nothing leaves the next one no time to get ready. */
const handovers = { shards: 100, rows: 4, stageMs: [0, 20] };
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
  let probes: ProbeLines;

  /** From the order to the start of the container. */
  const swapped = async (pod: Pod, order: { slot: number; stage: string; step: string }): Promise<number> => {
    const orderedMs = Date.now();
    await probes.swap(pod.metadata.name, order);
    return (await probes.started(pod, order.step)).atMs - orderedMs;
  };
  const orderOf = (number: number, of: string) => ({
    slot: number % 2,
    stage: stageNames[number % stageNames.length] ?? '',
    step: `${of}${String(number)}`,
  });

  beforeAll(async () => {
    const stages = stageNames.map((name) => ({ name, uses: './stage.ts' }));
    probes = await ProbeLines.start(`swaps-${String(process.pid)}`, lines, stages);
  });

  afterAll(async () => {
    await probes?.close();
  });

  needs('cluster').it(
    `over several pods, ${String(swapsOfEach * lines)} of them: none lost, none doubled, none in back-off`,
    async () => {
      const times: number[] = [];
      const oneAfterAnother = async (line: string): Promise<void> => {
        const before = await probes.pod(line);
        const orders = Array.from({ length: swapsOfEach }, (_, number) => orderOf(number, 's'));
        for (const order of orders) times.push(await swapped(before, order));
        expect((await probes.starts(before)).map(({ slot, stage, step }) => ({ slot, stage, step }))).toEqual(orders);
        // The kubelet tells of a start a moment after it.
        const after = await eventually(`the word of all starts on ${line}`, async () => {
          const pod = await probes.pod(line);
          return restartsOf(pod) >= swapsOfEach ? pod : undefined;
        });
        expect(restartsOf(after)).toBe(swapsOfEach);
        expect(after.metadata.uid).toBe(before.metadata.uid);
        expect(after.status.podIP).toBe(before.status.podIP);
        expect(after.status.containerStatuses?.flatMap(({ state }) => state?.waiting?.reason ?? [])).toEqual([]);
      };
      await Promise.all(probes.lines(lines).map(oneAfterAnother));
      expect(times).toHaveLength(swapsOfEach * lines);
      expect(probes.troubles).toEqual([]);
      figures.push(rowOf(`swap in the foreground, ${String(lines)} pods at once`, times));
    },
    // Two in a second, where four pods share a kubelet on two cores; and as long again.
    Math.max(600_000, swapsOfEach * lines * 1_000),
  );

  needs('cluster').it('beside swaps of one pod at rest, and beside pods that are created anew', async () => {
    const alone: number[] = [];
    const resting = await probes.pod('probe-0');
    for (let number = 0; number < 2 * recreations; number += 1) alone.push(await swapped(resting, orderOf(number, 'alone-')));
    figures.push(rowOf('swap in the foreground, one pod', alone));
    const anew: number[] = [];
    for (let number = 0; number < recreations; number += 1) {
      const { uid } = (await probes.pod('probe-1')).metadata;
      const deletedMs = Date.now();
      await kubectl('-n', probes.namespace, 'delete', 'pod', 'probe-1', '--wait=false');
      await probes.ready('probe-1', uid);
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

  for (const stageMs of handovers.stageMs) {
    needs('cluster').it(`are handed the shard without a swap: stages of ${String(stageMs)} ms`, async () => {
      const { shards: count, rows } = handovers;
      const name = `handed-${String(stageMs)}`;
      line = await PodLine.start(await busy(name, 2, stageMs, count * rows, rows), `${name}-${String(process.pid)}`);
      const shards = await line.run('');
      expect(shards.map(({ state }) => state)).toEqual(shards.map(() => 'completed'));
      // The first shard brings the stages into their slots; they stay there.
      const warm = shards.filter(({ report }) => report?.swaps === 0);
      expect(warm).toHaveLength(count - 1);
      const stages = warm.flatMap(({ report }) => report?.stages ?? []);
      expect(stages.map(({ swapMs }) => swapMs)).toEqual(stages.map(() => 0));
      const second = line.pipeline.stages[1]?.name;
      const handed = warm.map(({ report }) => report?.stages.find(({ stage }) => stage === second)?.handoverMs ?? Number.NaN);
      expect(handed.filter((ms) => Number.isNaN(ms))).toEqual([]);
      const each = stageMs === 0 ? 'that do nothing' : `of ${String(stageMs)} ms`;
      figures.push(rowOf(`hand-over to a warm slot, stages ${each}`, handed));
      await line.close();
    });
  }

  needs('cluster').it('are swapped behind the stage before where there are more of them than slots', async () => {
    line = await PodLine.start(await busy('behind', long.stages, long.ms, 4, 4), `behind-${String(process.pid)}`);
    const [shard] = await line.run('');
    const stages = shard?.report?.stages ?? [];
    expect(stages.map(({ runs }) => runs)).toEqual(stages.map(() => 1));
    expect(shard?.report?.swaps).toBe(long.stages);
    const workMs = stages.reduce((sum, stage) => sum + stage.workMs, 0);
    const [first = 0, ...others] = stages.map(({ handoverMs }) => handoverMs);
    const loadMs = shard?.report?.load.ms ?? 0;
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
      loadMs: loadMs.toFixed(0),
      // The first stage is asked for when the shard is leased, and waits for its slot when the shard is loaded.
      firstMs: first.toFixed(0),
      othersMs: others.map((ms) => ms.toFixed(0)).join(' '),
      restMs: (wallMs - workMs - loadMs - first - others.reduce((sum, ms) => sum + ms, 0)).toFixed(0),
    });
  });
});
