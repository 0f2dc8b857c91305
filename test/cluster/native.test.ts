/**
 * Lines without OpenKruise, on a real cluster: plain StatefulSets, whose pods are swapped by the same patches, and resized in place with
 * each swap where the pipeline says so. And what becomes of a pipeline that is mended, and of one that is deleted.
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import type { PodlineClient } from '../../runtime/api/client.js';
import { parseQuantity } from '../../runtime/config/units.js';
import { needs } from '../support/require.js';
import { eventually, kubectl, kubectlJson } from './support/cluster.js';
import { makeGate, type Gate } from './support/gate.js';
import { install, namespace, type Installation } from './support/installation.js';
import { onLine } from './support/on-line.js';

interface Container {
  name: string;
  image: string;
  restartPolicy?: string;
  env?: { name: string; value?: string }[];
  resources: { requests?: { memory?: string } };
}

interface Pod {
  metadata: { uid: string };
  spec: { containers: Container[]; initContainers?: Container[] };
  status: {
    podIP?: string;
    containerStatuses?: { name: string; restartCount: number; resources?: { requests?: { memory: string } } }[];
  };
}

const mib = 1024 * 1024;
/** Of pods: what has ended asks for nothing. */
const alive = 'status.phase!=Succeeded,status.phase!=Failed';
const isSidecar = ({ restartPolicy }: Container): boolean => restartPolicy === 'Always';

/** Reads NDJSON and writes it with `v` made into something else. */
const command = (expression: string): string[] =>
  onLine(`const { v } = JSON.parse(line); console.log(JSON.stringify({ v: ${expression} }));`);
/** Reads NDJSON and writes each line as it came, once `url` has answered. */
const held = (url: string): string[] => onLine(`require('node:http').get('${url}', () => console.log(line));`);
const stage = (name: string, code: string[], memory: string, after?: string) => ({
  name,
  command: code,
  stdio: 'ndjson',
  resources: { memory },
  ...(after === undefined ? {} : { after: [after] }),
});

needs('cluster').describe('a pipeline on plain StatefulSets', () => {
  let dir: string;
  let installation: Installation;
  let client: PodlineClient;
  let gate: Gate;
  const podline = (...args: string[]): Promise<string> => kubectl('-n', namespace, ...args);
  const apply = async (name: string, spec: Record<string, unknown>): Promise<void> => {
    const file = join(dir, `${name}.json`);
    const whole = { input: { format: 'ndjson' }, scratch: { size: '32Mi' }, slots: 1, residents: 1, streaming: 'off', ...spec };
    const resource = { apiVersion: 'podline.dev/v1alpha1', kind: 'Pipeline', metadata: { name } };
    await writeFile(file, JSON.stringify({ ...resource, spec: { ...whole, result: { format: 'ndjson' } } }));
    await podline('apply', '-f', file);
  };
  const input = { source: { inline: [{ v: 1 }, { v: 2 }] }, format: 'ndjson' };
  const complete = (name: string): Promise<string> =>
    podline('wait', '--for=condition=Complete', `pipeline/${name}`, '--timeout=120s');
  const podOf = (name: string): Promise<Pod> => kubectlJson<Pod>('-n', namespace, 'get', 'pod', `${name}-0`);
  const rowsOf = async (name: string, file: string): Promise<string[]> => {
    const root = installation.resultsOf(name);
    const [folder = expect.fail('there is no result')] = await readdir(root);
    return (await readFile(join(root, folder, file), 'utf8')).trim().split('\n');
  };

  /** A pod that asks for all memory of the node but so many bytes. */
  const fillerOf = async (leftBytes: number): Promise<string> => {
    const { status } = await kubectlJson<{ status: { allocatable: { memory: string } } }>('get', 'node', 'node0');
    const { items } = await kubectlJson<{ items: Pod[] }>('get', 'pods', '-A', `--field-selector=spec.nodeName=node0,${alive}`);
    const asked = items.flatMap(({ spec }) => [...spec.containers, ...(spec.initContainers ?? []).filter(isSidecar)]);
    const askedBytes = asked.reduce((sum, { resources }) => sum + parseQuantity(resources.requests?.memory ?? '0'), 0);
    const memory = String(Math.floor(parseQuantity(status.allocatable.memory) - askedBytes - leftBytes));
    const { spec } = await podOf('sized');
    const image = spec.containers.find(({ name }) => name === 'agent')?.image ?? expect.fail('there is no agent');
    const idle = {
      name: 'idle',
      image,
      command: ['node', '-e', 'setInterval(() => {}, 1e6)'],
      resources: { requests: { memory } },
    };
    const file = join(dir, 'filler.json');
    const pod = { nodeName: 'node0', automountServiceAccountToken: false, containers: [idle] };
    await writeFile(file, JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'filler' }, spec: pod }));
    return file;
  };

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podline-native-'));
    const variables = [
      { name: 'OTEL_EXPORTER_OTLP_ENDPOINT', value: 'http://10.88.0.1:4318' },
      { name: 'OTEL_SERVICE_NAME', value: 'mine' },
    ];
    installation = await install('namespaced', { cluster: { workload: 'native' }, variables });
    client = await installation.client();
    gate = await makeGate();
  });
  afterAll(async () => {
    await gate?.close();
    await client?.close();
    await installation?.close();
    await rm(dir, { recursive: true, force: true });
  });

  needs('cluster').it('takes turns in one slot of one pod, and has the result that it would have anywhere', async () => {
    const stages = [stage('double', command('v * 2'), '128Mi'), stage('plus', command('v + 1'), '128Mi', 'double')];
    await apply('plain', { input, stages });
    const first = await eventually('the pod', async () => {
      const pod = await podOf('plain');
      return pod.status.podIP === undefined ? undefined : pod;
    });
    await complete('plain');
    expect(await rowsOf('plain', 'plus.ndjson')).toEqual(['{"v":3}', '{"v":5}']);
    // The kubelet tells of a container after the agent has told of its work.
    const last = await eventually('a slot that began twice again', async () => {
      const pod = await podOf('plain');
      const slot = pod.status.containerStatuses?.find(({ name }) => name === 'slot-0');
      return slot !== undefined && slot.restartCount >= 2 ? pod : undefined;
    });
    expect([last.metadata.uid, last.status.podIP]).toEqual([first.metadata.uid, first.status.podIP]);
  });

  needs('cluster').it('is made of Kubernetes’ own objects alone', async () => {
    const kinds = await podline(
      'get',
      'statefulsets.apps,poddisruptionbudgets',
      '-l',
      'podline.dev/pipeline=plain',
      '-o',
      'name',
    );
    expect(kinds.split('\n').sort()).toEqual(['poddisruptionbudget.policy/plain', 'statefulset.apps/plain']);
    const kruise = 'statefulsets.apps.kruise.io,podunavailablebudgets,imagepulljobs';
    expect(await podline('get', kruise, '-l', 'podline.dev/pipeline=plain', '-o', 'name')).toBe('');
    expect(await podline('get', 'pipeline', 'plain', '-o', 'jsonpath={.status.workload}')).toBe('native');
  });

  needs('cluster').it('has agents that send their spans where the coordinator sends its own', async () => {
    const agent = (await podOf('plain')).spec.containers.find(({ name }) => name === 'agent');
    const variables = (agent?.env ?? []).filter(({ name }) => name.startsWith('OTEL_'));
    expect(variables).toEqual([{ name: 'OTEL_EXPORTER_OTLP_ENDPOINT', value: 'http://10.88.0.1:4318' }]);
  });

  needs('cluster').it('is scaled, and swaps in each pod', async () => {
    await podline('scale', 'pipeline', 'plain', '--replicas=2');
    await eventually('two lines', async () => ((await client.lines()).length === 2 ? true : undefined));
    const source = { inline: [{ v: 10 }], format: 'ndjson' as const };
    const answers = await client.submitAll(
      'plain',
      Array.from({ length: 8 }, (_, shard) => ({ key: `more-${String(shard)}`, source })),
    );
    const shards = await Promise.all(answers.map((answer) => client.waitFor(answer.outcome === 'rejected' ? '' : answer.id)));
    expect(shards.map(({ state, epoch }) => [state, epoch])).toEqual(shards.map(() => ['completed', 1]));
    expect(new Set(shards.map(({ result }) => result?.hash)).size).toBe(1);
  });

  needs('cluster').it(
    'asks its node for what the stage in its slot needs, and is resized in place from one to the next',
    async () => {
      const stages = [stage('big', held(gate.url), '256Mi'), stage('small', command('v'), '128Mi', 'big')];
      await apply('sized', { input, stages, swap: { resize: true } });
      const asks = async (memory: string): Promise<void> => {
        await eventually(`a slot that asks for ${memory}, and has it`, async () => {
          const { spec, status } = await podOf('sized');
          const [slot, seen] = [spec.containers, status.containerStatuses ?? []].map((of) =>
            of.find(({ name }) => name === 'slot-0'),
          );
          return [slot, seen].every((of) => of?.resources?.requests?.memory === memory) ? true : undefined;
        });
      };
      await complete('sized');
      await asks('128Mi');
      const { uid } = (await podOf('sized')).metadata;
      gate.shut();
      const answer = await client.submit('sized', { key: 'again', source: { inline: [{ v: 1 }], format: 'ndjson' } });
      const ended = client.waitFor(answer.outcome === 'rejected' ? '' : answer.id);
      await asks('256Mi');
      gate.open();
      expect((await ended).state).toBe('completed');
      await asks('128Mi');
      expect((await podOf('sized')).metadata.uid).toBe(uid);

      // Somebody else takes what the node has left.
      await podline('apply', '-f', await fillerOf(32 * mib));
      await podline('wait', '--for=condition=Ready', 'pod/filler', '--timeout=60s');
      gate.shut();
      const tight = await client.submit('sized', { key: 'tight', source: { inline: [{ v: 1 }], format: 'ndjson' } });
      await podline('wait', '--for=jsonpath={.status.conditions[?(@.type=="Degraded")].reason}=ResizePending', 'pipeline/sized');
      await podline('delete', 'pod', 'filler', '--grace-period=0', '--force');
      await asks('256Mi');
      await podline('wait', '--for=condition=Degraded=False', 'pipeline/sized', '--timeout=60s');
      gate.open();
      expect((await client.waitFor(tight.outcome === 'rejected' ? '' : tight.id)).state).toBe('completed');
    },
  );

  needs('cluster').it('works on a shard that is replayed right after it was mended as it was mended', async () => {
    const once = { retries: { limit: 0 } };
    const broken = stage('plus', command('process.exit(3)'), '128Mi');
    await apply('mended', { ...once, input, stages: [{ ...broken, retries: 0 }] });
    await podline('wait', '--for=condition=Complete=False', 'pipeline/mended', '--timeout=120s');
    const { revision } = await client.pipeline('mended');
    await apply('mended', { ...once, input, stages: [{ ...broken, command: command('v + 1'), retries: 0 }] });
    await eventually('the new revision', async () => ((await client.pipeline('mended')).revision > revision ? true : undefined));
    const { replayed } = await client.replay('mended');
    expect(replayed).toHaveLength(1);
    await complete('mended');
    expect(await rowsOf('mended', 'plus.ndjson')).toEqual(['{"v":2}', '{"v":3}']);
  });

  needs('cluster').it('is gone from the coordinator when its resource is', async () => {
    await podline('delete', 'pipeline', 'plain', '--timeout=60s');
    await expect(client.pipeline('plain')).rejects.toMatchObject({ code: 'PDL_PIPELINE_UNKNOWN' });
    expect((await client.pipelines()).map(({ name }) => name).sort()).toEqual(['mended', 'sized']);
  });
});
