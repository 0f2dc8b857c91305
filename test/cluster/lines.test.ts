/**
 * What a manifest and the installation say of lines, kept by real pods: groups that have work of their own, a manifest that changes while a
 * shard is on the line, the wait before a container is reloaded, swaps in a second.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import type { PodlineClient } from '../../runtime/api/client.js';
import type { PodlineEvent } from '../../runtime/contracts/events.js';
import type { Shard } from '../../runtime/contracts/shard.js';
import { needs } from '../support/require.js';
import { eventually, kubectl, kubectlJson, type Pod } from './support/cluster.js';
import { makeGate } from './support/gate.js';
import { install, namespace, type Installation } from './support/installation.js';
import { onLine } from './support/on-line.js';

const stage = (name: string, code: string, more: Record<string, unknown> = {}) => ({
  name,
  command: onLine(code),
  stdio: 'ndjson',
  resources: { memory: '96Mi' },
  ...more,
});
const pass = 'console.log(line);';
/** Of a manifest. Long beside whatever a swap takes by itself on a machine with a load. */
const gracePeriodSeconds = 5;

needs('kubernetes').describe('lines of real pods', () => {
  let dir: string;
  let installation: Installation;
  let client: PodlineClient;
  const apply = async (name: string, spec: Record<string, unknown>): Promise<void> => {
    const file = join(dir, `${name}.json`);
    const whole = { input: { format: 'ndjson' }, scratch: { size: '32Mi' }, slots: 1, residents: 1, streaming: 'off', ...spec };
    const resource = { apiVersion: 'podline.dev/v1alpha1', kind: 'Pipeline', metadata: { name } };
    await writeFile(file, JSON.stringify({ ...resource, spec: { ...whole, result: { format: 'ndjson' } } }));
    await kubectl('-n', namespace, 'apply', '-f', file);
    await eventually('the pipeline to be taken in', () => client.pipeline(name).then(() => true));
  };
  const podOf = (line: string): Promise<Pod> => kubectlJson<Pod>('-n', namespace, 'get', 'pod', line);
  const degraded = (name: string, reason: string): Promise<string> => {
    const condition = `--for=jsonpath={.status.conditions[?(@.type=="Degraded")].reason}=${reason}`;
    return kubectl('-n', namespace, 'wait', condition, `pipeline/${name}`, '--timeout=120s');
  };
  const working = (line: string, stage: string): Promise<true> =>
    eventually(`${stage} at work`, async () => {
      const { shards } = await client.line(line);
      return shards.some(({ running }) => running.some((run) => run.stage === stage)) ? true : undefined;
    });
  const submit = async (pipeline: string, key: string): Promise<string> => {
    const answer = await client.submit(pipeline, { key, source: { inline: [{ key }], format: 'ndjson' } });
    return answer.outcome === 'rejected' ? expect.fail(answer.error.message) : answer.id;
  };
  const completed = async (ids: readonly string[]): Promise<Shard[]> => {
    const shards = await Promise.all(ids.map((id) => client.waitFor(id)));
    expect(shards.map(({ state }) => state)).toEqual(ids.map(() => 'completed'));
    return shards;
  };
  /** What was told of a shard that has ended. */
  const told = async (shardId: string): Promise<PodlineEvent[]> => {
    const events: PodlineEvent[] = [];
    for await (const event of client.events({ after: 0, shardId })) {
      events.push(event);
      if (event.type === 'shard.completed') break;
    }
    return events;
  };
  const linesThere = async (of: string): Promise<number> =>
    (await client.lines()).filter(({ pipeline }) => pipeline === of).length;
  /** The line of each lease of these shards. */
  const linesOf = async (ids: readonly string[]): Promise<(string | undefined)[]> =>
    (await Promise.all(ids.map(told))).flat().flatMap(({ type, line }) => (type === 'shard.leased' ? [line] : []));

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podline-lines-'));
    // One in a second: two lines that want one at the same time show it.
    installation = await install('namespaced', { cluster: { swapsPerSecondMax: 1 } });
    client = await installation.client();
  });
  afterAll(async () => {
    await client?.close();
    await installation?.close();
    await rm(dir, { recursive: true, force: true });
  });

  needs('cluster').it('have the next stage in its slot while the one before works', async () => {
    const gate = await makeGate();
    try {
      gate.shut();
      const held = `require('node:http').get('${gate.url}', () => { ${pass} });`;
      await apply('warmed', { slots: 2, stages: [stage('one', held), stage('two', pass, { after: ['one'] })] });
      const id = await submit('warmed', 'a');
      await eventually('the second stage, ready, while the first is held', async () => {
        const { slots, shards } = await client.line('warmed-0');
        const works = shards.some(({ running }) => running.some((run) => run.stage === 'one'));
        return works && slots.some((slot) => slot.stage === 'two' && slot.phase === 'idle') ? true : undefined;
      });
      gate.open();
      await completed([id]);
    } finally {
      await gate.close();
    }
  });

  needs('cluster').it('carry out a stage that is added while a shard is on them, in the pod that they have', async () => {
    const gate = await makeGate();
    try {
      gate.shut();
      const one = stage('one', `require('node:http').get('${gate.url}', () => { ${pass} });`);
      await apply('growing', { stages: [one] });
      const id = await submit('growing', 'a');
      await working('growing-0', 'one');
      const before = await podOf('growing-0');
      const { revision } = await client.pipeline('growing');
      const two = stage('two', `console.log(JSON.stringify({ ...JSON.parse(line), two: 2 }));`, { after: ['one'] });
      await apply('growing', { stages: [one, two] });
      await eventually('the line to know of it', async () =>
        (await client.line('growing-0')).revision === revision + 1 ? true : undefined,
      );
      gate.open();
      const [shard] = await completed([id]);
      // The first stage goes on as it was: it was begun once, and under the first lease.
      expect(shard).toMatchObject({ epoch: 1, attempts: 0 });
      expect(shard?.report?.stages.map(({ stage, outcome, runs }) => [stage, outcome, runs])).toEqual([
        ['one', 'ran', 1],
        ['two', 'ran', 1],
      ]);
      const file = join(installation.resultsOf('growing'), basename(shard?.result?.dir ?? ''), 'two.ndjson');
      expect(JSON.parse(await readFile(file, 'utf8'))).toEqual({ key: 'a', two: 2 });
      const after = await podOf('growing-0');
      expect([after.metadata.uid, after.status.podIP]).toEqual([before.metadata.uid, before.status.podIP]);
    } finally {
      await gate.close();
    }
  });

  needs('cluster').it(
    'are said to be outdated while their pod is of an earlier template, until somebody deletes it',
    async () => {
      const gate = await makeGate();
      try {
        gate.shut();
        const stages = [stage('one', `require('node:http').get('${gate.url}', () => { ${pass} });`)];
        await apply('renewed', { stages });
        const id = await submit('renewed', 'a');
        await working('renewed-0', 'one');
        const { uid } = (await podOf('renewed-0')).metadata;
        await apply('renewed', { slots: 2, stages });
        await degraded('renewed', 'LinesOutdated');
        // Its line is at work, and is left to it.
        expect((await podOf('renewed-0')).metadata.uid).toBe(uid);
        await working('renewed-0', 'one');
        // Once its budget allows it.
        await eventually('the deletion', () => kubectl('-n', namespace, 'delete', 'pod', 'renewed-0', '--wait=false'));
        await eventually('another pod', async () => ((await podOf('renewed-0')).metadata.uid === uid ? undefined : true));
        await degraded('renewed', 'AsExpected');
        gate.open();
        await completed([id]);
        const { spec } = await podOf('renewed-0');
        expect(spec.containers.map(({ name }) => name)).toEqual(['agent', 'slot-0', 'slot-1']);
      } finally {
        await gate.close();
      }
    },
  );

  needs('cluster').it('take their own group’s work, and leave another’s where it is while they have none', async () => {
    const gate = await makeGate();
    try {
      gate.shut();
      const atDoor = `if (!line.includes('heavy')) { ${pass} return; } require('node:http').get('${gate.url}', () => { ${pass} });`;
      const groups = [{ name: 'heavy', match: { key: 'heavy-*' }, minLines: 1 }];
      await apply('grouped', { groups, stages: [stage('pass', atDoor)] });
      await eventually('a line of each group', async () => ((await linesThere('grouped')) === 2 ? true : undefined));
      const heavy = await Promise.all([0, 1, 2, 3].map((number) => submit('grouped', `heavy-${String(number)}`)));
      const states = async (): Promise<string[]> =>
        (await Promise.all(heavy.map((id) => client.get(id)))).map(({ state }) => state).sort();
      await eventually('the one line of the group at the door', async () =>
        (await states()).includes('running') ? true : undefined,
      );
      // The other line comes for work again and again, and has none before it: the queue holds only what is not its own.
      const light: string[] = [];
      for (const number of [0, 1, 2, 3]) {
        const id = await submit('grouped', `light-${String(number)}`);
        await completed([id]);
        light.push(id);
        expect(await states()).toEqual(['pending', 'pending', 'pending', 'running']);
      }
      gate.open();
      await completed(heavy);
      expect(await linesOf(heavy)).toEqual(heavy.map(() => 'grouped-heavy-0'));
      expect(await linesOf(light)).toEqual(light.map(() => 'grouped-0'));
    } finally {
      await gate.close();
    }
  });

  needs('kubernetes').it('wait before a container is reloaded, as long as the manifest says', async () => {
    const stages = [stage('first', pass), stage('second', pass, { after: ['first'] })];
    await apply('patient', { swap: { gracePeriodSeconds }, stages });
    const [shard] = await completed([await submit('patient', 'one')]);
    // There is one slot: each stage's container is asked for when it is free. The agent counts from there until the shim is ready.
    const swaps = shard?.report?.stages.map(({ stage, swapMs }) => [stage, swapMs >= gracePeriodSeconds * 1_000]);
    expect(swaps).toEqual([
      ['first', true],
      ['second', true],
    ]);
  });

  needs('kubernetes').it(
    'are swapped no faster than the installation lets the API server be asked, and the log says so',
    async () => {
      const stages = [stage('first', pass), stage('second', pass, { after: ['first'] })];
      await apply('throttled', { lines: 3, stages });
      await eventually('three lines', async () => ((await linesThere('throttled')) === 3 ? true : undefined));
      await completed(await Promise.all(['a', 'b', 'c'].map((key) => submit('throttled', key))));
      const log = await kubectl('-n', namespace, 'logs', 'podline-coordinator-0');
      expect(log).toContain('swaps wait: more are asked for than cluster.swapsPerSecondMax lets through');
    },
  );
});
