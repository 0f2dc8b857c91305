/**
 * What a large installation costs its coordinator: fifty pipelines of twenty lines each, in a fake API server over HTTP that serves as many
 * pods as a real one would have. CPU time is counted, of this whole process: of the coordinator, and of the server that it asks.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { openCluster } from '../../../runtime/cluster/open-cluster.js';
import type { PipelineStatus } from '../../../runtime/contracts/pipeline-status.js';
import { createCoordinator } from '../../../runtime/coordinator/coordinator.js';
import { openLmdbJournal } from '../../../runtime/journal/lmdb/lmdb-journal.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { heartbeatOf } from '../../support/journal.js';
import { ManualClock } from '../../support/manual-clock.js';
import { FakeApiServer } from '../../unit/cluster/fake-api-server.js';

const pipelines = 50;
const linesOfEach = 20;
const cpuMsMax = 2_000;
/** More than lies between two resyncs, and between two looks at an object. */
const resyncMs = 301_000;
/** A service, a StatefulSet and a budget. */
const objectsOfEach = 3;

const names = Array.from({ length: pipelines }, (_, number) => `p${String(number)}`);
const namespaced = (group: string): string => `${group}/namespaces/podline`;
const pathOf = (name: string): string => `${namespaced('/apis/podline.dev/v1alpha1')}/pipelines/${name}`;
const workloadOf = (name: string): string => `${namespaced('/apis/apps.kruise.io/v1beta1')}/statefulsets/${name}`;
const digest = `sha256:${'0'.repeat(64)}`;

interface Template {
  template: {
    metadata: { labels: Record<string, string>; annotations: Record<string, string> };
    spec: { containers: { name: string }[] };
  };
}

it('a full resync of fifty pipelines with twenty lines each takes less than two seconds of CPU, and writes nothing', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'podline-resync-'));
  const server = await FakeApiServer.start();
  const clock = new ManualClock();
  const journal = openLmdbJournal({ dir: join(dir, 'journal') });
  const cluster = await openCluster({
    namespace: 'podline',
    watch: 'namespaced',
    kubeconfig: server.kubeconfig,
    workload: 'kruise',
    lines: {
      image: `podline/runtime@${digest}`,
      coordinatorUrl: 'http://coordinator:8080',
      ssdHostPath: '/mnt/ssd',
      volume: { claim: 'volume' },
      user: 10_001,
      cores: 2,
      resultRoot: '/podline-volume/results',
    },
    imageRoot: dir,
    logger: silentLogger,
    clock,
  });
  const { driver, capacity } = cluster;
  const coordinator = await createCoordinator({ journal, driver, capacity, clock });
  onTestFinished(async () => {
    await cluster.close();
    await coordinator.close();
    await journal.close();
    await server.close();
    await rm(dir, { recursive: true, force: true });
  });
  await cluster.start(coordinator);
  /** By line: the instance of its agent. */
  const lines = new Map<string, string>();
  /** Time goes on, and lines say that they are there. */
  const until = (what: () => void): Promise<void> =>
    vi.waitFor(
      async () => {
        for (const [line, instance] of lines) await coordinator.heartbeat(line, heartbeatOf(instance));
        clock.step(500);
        what();
      },
      { timeout: 60_000, interval: 5 },
    );

  for (const name of names)
    server.put(pathOf(name), {
      apiVersion: 'podline.dev/v1alpha1',
      kind: 'Pipeline',
      metadata: { name, namespace: 'podline' },
      spec: {
        lines: linesOfEach,
        input: { format: 'ndjson' },
        stages: [{ name: 'double', command: ['double'], stdio: 'ndjson' }],
      },
    });
  await until(() => {
    for (const name of names) expect(server.get(workloadOf(name))?.spec).toMatchObject({ replicas: linesOfEach });
  });
  const hellos: Promise<unknown>[] = [];
  for (const name of names) {
    const { template } = server.get(workloadOf(name))?.spec as Template;
    for (let number = 0; number < linesOfEach; number += 1) {
      const line = `${name}-${String(number)}`;
      const containerStatuses = template.spec.containers.map((container) => ({
        name: container.name,
        restartCount: 0,
        state: { running: {} },
      }));
      const { metadata } = server.put(`${namespaced('/api/v1')}/pods/${line}`, {
        metadata: { name: line, namespace: 'podline', ...template.metadata },
        spec: { ...template.spec, nodeName: 'node0' },
        status: { phase: 'Running', containerStatuses },
      });
      const hello = { pipeline: name, node: 'node0', slots: 1, residents: [] };
      const instance = `${metadata.uid ?? ''}.a`;
      lines.set(line, instance);
      hellos.push(coordinator.lineHello(line, { ...hello, instance }));
    }
  }
  await Promise.all(hellos);
  await until(() => {
    for (const name of names) {
      const { conditions = [] } = (server.get(pathOf(name))?.status ?? {}) as PipelineStatus;
      expect(conditions.map(({ reason }) => reason)).toEqual(['LinesReady', 'Idle', 'AsExpected', 'NoShards']);
    }
  });
  // Until nothing was written for longer than a new coordinator needs to settle.
  let quiet = { writes: -1, looks: 0 };
  await until(() => {
    const { length } = server.writes();
    quiet = { writes: length, looks: length === quiet.writes ? quiet.looks + 1 : 0 };
    expect(quiet.looks).toBeGreaterThan(40);
  });

  const [writes, reads] = [server.writes().length, server.requests.length];
  const looks = (): number => {
    const asked = server.requests.slice(reads).filter(({ method, path }) => method === 'GET' && /\/p\d+$/.test(path));
    return new Set(asked.map(({ path }) => path)).size;
  };
  const before = process.cpuUsage();
  // The watches are too old, so that everything is listed; and it is the time at which everything is looked at.
  server.compact();
  server.expireWatches();
  clock.stall(resyncMs);
  await until(() => {
    expect(looks()).toBe(pipelines * objectsOfEach);
  });
  const { user, system } = process.cpuUsage(before);
  expect(server.writes().slice(writes)).toEqual([]);
  const lists = server.requests.slice(reads).filter(({ query, path }) => query.get('limit') !== null && path.endsWith('/pods'));
  expect(lists.length).toBeGreaterThanOrEqual(2);
  console.info(
    `a full resync of ${String(pipelines)} × ${String(linesOfEach)} lines: ${String(Math.round((user + system) / 1_000))} ms of CPU`,
  );
  expect((user + system) / 1_000).toBeLessThan(cpuMsMax);
}, 90_000);
