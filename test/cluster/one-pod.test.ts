/**
 * The thin slice: the flights pipeline in one real pod, from loading to report, against the same pipeline on this machine as
 * processes. Agent, shim, heart, scratch and checkpoints are the same code; only the driver differs.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { afterAll, beforeAll, expect } from 'vitest';
import type { RunSummary } from '../../runtime/cli/summary.js';
import type { PodlineEvent } from '../../runtime/contracts/events.js';
import type { Shard } from '../../runtime/contracts/shard.js';
import { entryPath, packageRoot } from '../../runtime/platform/entries.js';
import { needs } from '../support/require.js';
import { clusterScript, eventually } from './support/cluster.js';
import { followLog, PodLine } from './support/pod-line.js';

const manifest = join(packageRoot, 'examples', 'flights', 'pipeline.yaml');
const stages = ['clean', 'airports', 'features', 'aggregate', 'report'];
/** Kills are aimed at half a second of work from outside the pod: a few may come too late. */
const killsMax = 6;

needs('cluster').describe('the flights pipeline in one real pod', () => {
  let dir: string;
  let laptop: RunSummary;
  let line: PodLine;
  let shard: Shard;
  let summary: RunSummary;
  /** What the pod was at each event of the run, and what it had become by then. */
  const sightings: { event: string; uid: string; ip: string | undefined; node: string | undefined }[] = [];

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podline-slice-'));
    const podline = [
      entryPath('runtime/cli/main'),
      'run',
      manifest,
      '--work-dir',
      join(dir, 'work'),
      '--result-dir',
      join(dir, 'results'),
      '--json',
    ];
    laptop = JSON.parse((await promisify(execFile)(process.execPath, podline)).stdout) as RunSummary;

    line = await PodLine.start(manifest, `one-pod-${String(process.pid)}`);
    await eventually('the pod', async () => ((await line.pod()).status.phase === 'Running' ? true : undefined));
    const sight = async (event: string): Promise<void> => {
      const { metadata, spec, status } = await line.pod();
      sightings.push({ event, uid: metadata.uid, ip: status.podIP, node: spec.nodeName });
    };
    await sight('start');
    const stop = new AbortController();
    const looking = (async () => {
      for await (const event of line.client.events({ after: 0, signal: stop.signal })) await sight(nameOf(event));
    })();
    const startedMs = performance.now();
    const shards = await line.run('');
    summary = line.summary(shards, performance.now() - startedMs);
    shard = shards[0] ?? expect.fail('there was no shard');
    await eventually('the last event', () => sightings.find(({ event }) => event === 'shard.completed'));
    stop.abort();
    await looking;
    await sight('end');
    console.info(tableOf(laptop, summary));
  });

  afterAll(async () => {
    await line?.close();
    await rm(dir, { recursive: true, force: true });
  });

  needs('cluster').it('completes, with the hash that the same pipeline has as processes on this machine', () => {
    expect(shard).toMatchObject({ state: 'completed', report: { resumedFrom: 'source' } });
    expect(laptop.shards.completed).toBe(1);
    expect(summary.hash).toBe(laptop.hash);
    expect(shard.result?.hash).toBe(laptop.results[0]?.hash);
  });

  needs('cluster').it('delivers the same numbers, every one', async () => {
    const here = laptop.results[0]?.dir ?? '';
    const there = shard.result?.dir ?? '';
    const rows = async (folder: string): Promise<unknown[]> =>
      parquetReadObjects({ file: await asyncBufferFromFile(join(folder, 'aggregate.parquet')), compressors });
    const expected = await rows(here);
    expect(expected.length).toBeGreaterThan(10_000);
    expect(await rows(there)).toEqual(expected);
    const report = async (folder: string): Promise<unknown> => JSON.parse(await readFile(join(folder, 'report.json'), 'utf8'));
    expect(await report(there)).toEqual(await report(here));
  });

  needs('cluster').it('stays the same pod, with the same address, on the same node, over all stages', () => {
    const seen = sightings.map(({ event }) => event);
    expect(seen).toEqual(
      expect.arrayContaining(stages.flatMap((stage) => [`slot.swapped ${stage}`, `stage.completed ${stage}`])),
    );
    const [first] = sightings;
    expect(first?.ip).toBeDefined();
    for (const { uid, ip, node } of sightings)
      expect({ uid, ip, node }).toEqual({ uid: first?.uid, ip: first?.ip, node: first?.node });
    expect(line.events.filter(({ type }) => type !== 'lineStarted')).toEqual([]);
  });

  needs('cluster').it('had every stage in a container of its own, put in place by one patch each', async () => {
    const hellos = (await line.log('agent')).filter(({ msg }) => msg === 'a shim said hello');
    expect(hellos.map(({ stage }) => stage).sort()).toEqual([...stages].sort());
    const steps = new Set(hellos.map(({ step }) => step));
    expect(steps.size).toBe(stages.length);
    const { metadata, status } = await line.pod();
    // Steps carry the id of the pod that they were made for, and each start of a container of it was one swap.
    for (const step of steps) expect(step).toContain(metadata.uid);
    const restarts = new Map(status.containerStatuses?.map(({ name, restartCount }) => [name, restartCount]));
    expect(restarts.get('agent')).toBe(0);
    expect((restarts.get('slot-0') ?? 0) + (restarts.get('slot-1') ?? 0)).toBe(stages.length);
    expect(summary.swaps).toBe(stages.length);
    expect(laptop.swaps).toBe(stages.length);
  });

  needs('cluster').it('moves the same bytes through memory as on a laptop, and none of them over the network', async () => {
    // What an aggregation reads of its own saved state hangs on the moment at which it was saved: it is left out.
    const stages = (of: RunSummary): unknown[] => of.stages.map(({ stage, rows, blocks }) => [stage, rows, blocks]);
    expect(stages(summary)).toEqual(stages(laptop));
    for (const [index, { stage, bytes }] of summary.stages.entries()) {
      // Each thread that helped has written the head of a segment of its own.
      const there = laptop.stages[index]?.bytes.memory.written ?? 0;
      expect(Math.abs(bytes.memory.written - there), stage).toBeLessThan(4_096);
    }
    expect(summary.bytes.network).toEqual({ read: 0, written: 0 });
    const counters = await line.evaluate(`process.stdout.write(require('node:fs').readFileSync('/proc/net/dev', 'utf8'))`);
    const [, received = '', sent = ''] = /eth0:\s*(\d+)(?:\s+\d+){7}\s+(\d+)/.exec(counters) ?? expect.fail(counters);
    // All that the pod said and heard since it was created: leases, heartbeats and the source's name.
    expect(Number(received) + Number(sent)).toBeLessThan(0.01 * (summary.bytes.memory.read + summary.bytes.memory.written));
  });

  needs('cluster').it('has the streams in a tmpfs of the pod', async () => {
    const mounts = await line.evaluate(`process.stdout.write(require('node:fs').readFileSync('/proc/mounts', 'utf8'))`);
    expect(mounts.split('\n')).toContainEqual(expect.stringMatching(/^tmpfs \/podline-scratch tmpfs /));
  });

  needs('cluster').it('has the same hash when a slot is killed while its stage runs', async () => {
    let hits = 0;
    for (let kill = 0; kill < killsMax && hits === 0; kill += 1) {
      const stage = 'aggregate';
      const log = followLog(line, 'agent');
      try {
        const running = line.run(`slot-killed-${String(kill)}-`);
        const start = await log.next((entry) => entry['msg'] === 'a run was started' && entry['stage'] === stage);
        await clusterScript(['kill-container', '0', line.name, `slot-${String(start['slot'])}`]);
        const [killed] = await running;
        expect(killed).toMatchObject({ state: 'completed', attempts: 0, epoch: 1 });
        expect(killed?.result?.hash).toBe(laptop.results[0]?.hash);
        const report = killed?.report?.stages.find((candidate) => candidate.stage === stage);
        if (report?.runs === 2) hits += 1;
      } finally {
        log.close();
      }
    }
    expect(hits).toBe(1);
    // As the kubelet tells it: killed by signal 9.
    expect(JSON.stringify(line.events)).toContain('exit code 137');
    expect((await line.pod()).metadata.uid).toBe(sightings[0]?.uid);
  });

  needs('cluster').it('goes on from the scratch when the agent is killed, with the same hash', async () => {
    const log = followLog(line, 'agent');
    try {
      const running = line.run('agent-killed-');
      await log.next((entry) => entry['msg'] === 'a run was started' && entry['stage'] === 'airports');
      await clusterScript(['kill-container', '0', line.name, 'agent']);
      const [killed] = await running;
      expect(killed).toMatchObject({ state: 'completed', attempts: 0, report: { resumedFrom: 'scratch' } });
      expect(killed?.epoch).toBeGreaterThan(1);
      expect(killed?.report?.load.sourceReads).toBe(0);
      expect(killed?.result?.hash).toBe(laptop.results[0]?.hash);
    } finally {
      log.close();
    }
    expect((await line.pod()).metadata.uid).toBe(sightings[0]?.uid);
  });
});

const nameOf = ({ type, data }: PodlineEvent): string => (typeof data['stage'] === 'string' ? `${type} ${data['stage']}` : type);

/** The same run, as processes and as containers: for whoever reads the log of the tests. */
function tableOf(laptop: RunSummary, pod: RunSummary): string {
  const rows = pod.stages.map((stage) => {
    const here = laptop.stages.find((candidate) => candidate.stage === stage.stage);
    const ms = (value: number | undefined): string => String(Math.round(value ?? 0)).padStart(8);
    return `${stage.stage.padEnd(10)} work ${ms(here?.workMs)}${ms(stage.workMs)}   swap ${ms(here?.swapMs)}${ms(stage.swapMs)}   hand-over ${ms(here?.handoverMs.max)}${ms(stage.handoverMs.max)}`;
  });
  return [
    `ms, laptop and pod; in all ${String(Math.round(laptop.elapsedMs))} and ${String(Math.round(pod.elapsedMs))}`,
    ...rows,
  ].join('\n');
}
