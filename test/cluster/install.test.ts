/**
 * From manifests to results with `kubectl` alone: the installation, pipelines, what becomes of them, and what the coordinator may do.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect } from 'vitest';
import { entryPath } from '../../runtime/platform/entries.js';
import type { RunSummary } from '../../runtime/cli/summary.js';
import type { PipelineStatus } from '../../runtime/contracts/pipeline-status.js';
import { needs } from '../support/require.js';
import { clusterScript, coordinatorCpuMs, coordinatorWrites, eventually, kubectl, kubectlJson } from './support/cluster.js';
import { lasting } from './support/fault-line.js';
import { keepFigures } from './support/figures.js';
import { install, namespace, type Installation } from './support/installation.js';

interface Resource {
  metadata: { uid: string; resourceVersion: string; generation: number };
  status: PipelineStatus;
}

interface PullJob {
  spec: { image: string };
  status?: { desired: number; succeeded?: number; failed?: number };
}
const of = (pipeline: string): string[] => ['-l', `podline.dev/pipeline=${pipeline}`];

/** Reads NDJSON and writes it with `v` made into something else. */
const command = (expression: string): string[] => [
  'node',
  '-e',
  `require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => { const { v } = JSON.parse(line); console.log(JSON.stringify({ v: ${expression} })); })`,
];
const pipeline = (name: string, spec: Record<string, unknown>): Record<string, unknown> => ({
  apiVersion: 'podline.dev/v1alpha1',
  kind: 'Pipeline',
  metadata: { name },
  spec: {
    input: { source: { inline: [{ v: 1 }, { v: 2 }, { v: 3 }, { v: 4 }] }, format: 'ndjson', chunk: { rows: 2 } },
    scratch: { size: '64Mi' },
    slots: 2,
    result: { format: 'ndjson' },
    ...spec,
  },
});
const stage = (name: string, expression: string, more: Record<string, unknown> = {}) => ({
  name,
  command: command(expression),
  stdio: 'ndjson',
  resources: { memory: '128Mi' },
  ...more,
});
/** How long nothing is to do is what is measured. */
const restMs = 20_000;
const double = { stages: [stage('double', 'v * 2'), stage('plus', 'v + 1', { after: ['double'] })] };

needs('kubernetes').describe('an installation from the manifests', () => {
  let dir: string;
  let installation: Installation;
  const podline = (...args: string[]): Promise<string> => kubectl('-n', namespace, ...args);
  const get = (name: string): Promise<Resource> => kubectlJson<Resource>('-n', namespace, 'get', 'pipeline', name);
  const fileOf = async (resource: Record<string, unknown>, name: string): Promise<string> => {
    const file = join(dir, `${name}.json`);
    await writeFile(file, JSON.stringify(resource));
    return file;
  };
  const apply = async (name: string, spec: Record<string, unknown>): Promise<string> =>
    podline('apply', '-f', await fileOf(pipeline(name, spec), name));
  const waitFor = (name: string, condition: string): Promise<string> =>
    podline('wait', `--for=condition=${condition}`, `pipeline/${name}`, '--timeout=120s');
  const conditions = async (name: string): Promise<string[]> =>
    ((await get(name)).status.conditions ?? []).map(({ type, status, reason }) => `${type}=${status} ${reason}`);
  const rowsOf = async (name: string, file: string): Promise<number[]> => {
    const root = installation.resultsOf(name);
    const shards = (await readdir(root)).sort();
    const texts = await Promise.all(shards.map((shard) => readFile(join(root, shard, file), 'utf8')));
    return texts.flatMap((text) => text.trim().split('\n')).map((line) => (JSON.parse(line) as { v: number }).v);
  };

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podline-kubectl-'));
    const twice = `import { column, defineStage } from 'podline';
export default defineStage({ input: { v: 'int32' }, output: { w: 'float64' }, keep: 'none', block(batch) {
  const w = column.float64(batch.rows);
  for (let row = 0; row < batch.rows; row++) w.values[row] = batch.columns.v.at(row) * 2;
  return { columns: { w } };
} });\n`;
    await writeFile(join(dir, 'twice.ts'), twice);
    await fileOf(pipeline('typed', { stages: [{ name: 'twice', uses: './twice.ts' }] }), 'typed');
    installation = await install('namespaced', { pipelines: [join(dir, 'typed.json')] });
  });

  afterAll(async () => {
    await installation?.close();
    await rm(dir, { recursive: true, force: true });
  });

  needs('kubernetes').it('takes a pipeline from `kubectl apply` to its results', async () => {
    await apply('double', double);
    await waitFor('double', 'Complete');
    const { status } = await get('double');
    expect(status).toMatchObject({
      shards: { total: 2, completed: 2 },
      input: { submitted: 2 },
      workload: 'kruise',
      replicas: 1,
    });
    expect(await conditions('double')).toEqual([
      'Ready=True LinesReady',
      'Progressing=False Idle',
      'Degraded=False AsExpected',
      'Complete=True ShardsCompleted',
    ]);
    const reasons = await podline(
      'get',
      'events.events.k8s.io',
      '-o',
      'jsonpath={range .items[?(@.regarding.kind=="Pipeline")]}{.reason} {end}',
    );
    expect(reasons.split(' ')).toEqual(expect.arrayContaining(['Submitting', 'LinesReady', 'ShardsCompleted']));
  });

  needs('cluster').it('has its results on the volume', async () => {
    expect(await rowsOf('double', 'plus.ndjson')).toEqual([3, 5, 7, 9]);
  });

  needs('kubernetes').it('shows it in columns', async () => {
    const [head = '', row = ''] = (await podline('get', 'ppl', 'double')).split('\n');
    expect(head.split(/\s+/)).toEqual(['NAME', 'STAGE', 'SHARDS', 'DONE', 'FAILED', 'LINES', 'AGE']);
    expect(row).toMatch(/^double\s+2\s+2\s+0\s+1\s/);
  });

  needs('kubernetes').it('writes nothing while nothing changes, also when it looks at everything again', async () => {
    const before = await get('double');
    const versions = () =>
      podline(
        'get',
        'statefulsets.apps.kruise.io,services,podunavailablebudgets',
        '-l',
        'podline.dev/pipeline=double',
        '-o',
        'jsonpath={.items[*].metadata.generation}',
      );
    const generations = await versions();
    // A new coordinator sends every object once, and looks at every status.
    await podline('delete', 'pod', 'podline-coordinator-0', '--wait=true');
    await podline('rollout', 'status', 'statefulset.apps/podline-coordinator', '--timeout=120s');
    await eventually('the line to be heard again', async () =>
      (await get('double')).status.readyLines === 1 ? true : undefined,
    );
    const after = await get('double');
    expect(after.status.conditions).toEqual(before.status.conditions);
    expect(await versions()).toBe(generations);
  });

  needs('cluster').it('gives the same result hash as a laptop with the same file, for stages in TypeScript', async () => {
    await podline('apply', '-f', join(dir, 'typed.json'));
    const args = [
      'run',
      join(dir, 'typed.json'),
      '--work-dir',
      join(dir, 'work'),
      '--result-dir',
      join(dir, 'results'),
      '--json',
    ];
    const { stdout } = await promisify(execFile)(process.execPath, [entryPath('runtime/cli/main'), ...args]);
    const laptop = JSON.parse(stdout) as RunSummary;
    await waitFor('typed', 'Complete');
    const root = installation.resultsOf('typed');
    const hashes = await Promise.all(
      (await readdir(root))
        .sort()
        .map(async (shard) => (JSON.parse(await readFile(join(root, shard, 'manifest.json'), 'utf8')) as { hash: string }).hash),
    );
    expect(hashes).toHaveLength(2);
    expect(hashes.sort()).toEqual(laptop.results.map(({ hash }) => hash).sort());
  });

  needs('kubernetes').it('ends the wait for a pipeline that fails, and says why', async () => {
    await apply('failing', { stages: [stage('double', 'process.exit(3)', { retries: 0 })], retries: { limit: 0 } });
    await waitFor('failing', 'Complete=False');
    await waitFor('failing', 'Degraded');
    const { status } = await get('failing');
    expect(status.shards).toMatchObject({ total: 2, failed: 2 });
    expect(status.conditions?.find(({ type }) => type === 'Complete')?.message).toContain('ended with exit code 3');
  });

  needs('kubernetes').it('refuses an image that is not pinned by digest, with a condition that names the way out', async () => {
    await apply('tagged', { stages: [stage('double', 'v', { image: 'tools/double:latest' })] });
    await waitFor('tagged', 'Complete=False');
    const ready = (await get('tagged')).status.conditions?.find(({ type }) => type === 'Ready');
    expect(ready).toMatchObject({
      status: 'False',
      reason: 'ImageNotPinned',
      message: expect.stringContaining('repository/name@sha256:') as string,
    });
    expect(await podline('get', 'pods', '-l', 'podline.dev/pipeline=tagged', '-o', 'name')).toBe('');
  });

  needs('kubernetes').it('says in a condition what no schema can: a stage that comes after one that is not there', async () => {
    await apply('cycle', { stages: [stage('a', 'v', { after: ['b'] }), stage('b', 'v', { after: ['a'] })] });
    await waitFor('cycle', 'Complete=False');
    expect((await get('cycle')).status.conditions?.[0]).toMatchObject({
      reason: 'SpecInvalid',
      message: expect.stringContaining('cycle') as string,
    });
  });

  needs('kubernetes').it('has the API server refuse what a schema can say, all of it at once', async () => {
    const wrong = {
      slots: 0,
      input: { chunk: { rows: 2, bytes: '4Mi' } },
      parameters: { a: { type: 'integer', minimum: 5, maximum: 2 } },
      stages: [{ name: 'input', uses: './a.ts', command: ['x'] }, stage('b', 'v', { resources: { memory: '5Qi' } })],
    };
    const refused = await apply('wrong', wrong).catch((error: unknown) => (error as { stderr: string }).stderr);
    for (const words of [
      'spec.slots',
      'set exactly one of rows, bytes',
      'minimum is greater than maximum',
      'either uses (TypeScript) or command',
      'input is the name of what the loader writes',
      'spec.stages[1].resources.memory',
    ])
      expect(refused).toContain(words);
    const unknown = await apply('wrong', { ...double, stagse: [] }).catch(
      (error: unknown) => (error as { stderr: string }).stderr,
    );
    expect(unknown).toContain('unknown field "spec.stagse"');
  });

  needs('kubernetes').it('follows the scale subresource, and spreads a group over nodes', async () => {
    await podline('scale', 'pipeline', 'double', '--replicas=2');
    await eventually('two lines', async () => ((await get('double')).status.readyLines === 2 ? true : undefined));
    const spread = await podline(
      'get',
      'statefulset.apps.kruise.io/double',
      '-o',
      'jsonpath={.spec.template.spec.topologySpreadConstraints[0].topologyKey}',
    );
    expect(spread).toBe('kubernetes.io/hostname');
    await podline('scale', 'pipeline', 'double', '--replicas=1');
    await eventually('one line', async () => ((await get('double')).status.replicas === 1 ? true : undefined));
    expect((await get('double')).status.conditions?.find(({ type }) => type === 'Complete')?.status).toBe('True');
  });

  needs('kubernetes').it('mends an object that somebody has deleted or changed', async () => {
    const uidOf = () => podline('get', 'statefulset.apps.kruise.io/double', '-o', 'jsonpath={.metadata.uid}');
    const before = await uidOf();
    await podline('delete', 'statefulset.apps.kruise.io/double', '--cascade=orphan');
    await eventually('the StatefulSet again', async () => ((await uidOf()) !== before ? true : undefined));
    const limitOf = () => podline('get', 'statefulset.apps.kruise.io/double', '-o', 'jsonpath={.spec.revisionHistoryLimit}');
    const limit = await limitOf();
    await podline('patch', 'statefulset.apps.kruise.io/double', '--type=merge', '-p', '{"spec":{"revisionHistoryLimit":3}}');
    await eventually('the StatefulSet as it was', async () => ((await limitOf()) === limit ? true : undefined));
    expect(limit).not.toBe('3');
  });

  needs('cluster').it('takes a pipeline that was deleted and applied again through its input again', async () => {
    const first = await get('double');
    await podline('delete', 'pipeline', 'double', '--timeout=60s');
    await eventually('no pods', async () =>
      (await podline('get', 'pods', '-l', 'podline.dev/pipeline=double', '-o', 'name')) === '' ? true : undefined,
    );
    await rm(installation.resultsOf('double'), { recursive: true });
    await apply('double', double);
    await waitFor('double', 'Complete');
    expect((await get('double')).metadata.uid).not.toBe(first.metadata.uid);
    expect(await rowsOf('double', 'plus.ndjson')).toEqual([3, 5, 7, 9]);
  });

  needs('kubernetes').it('may do what the coordinator needs, and nothing else', async () => {
    const as = `--as=system:serviceaccount:${namespace}:podline-coordinator`;
    const listed = await kubectl('auth', 'can-i', '--list', '--no-headers', '-n', namespace, as);
    const allowed = listed
      .split('\n')
      .map((line) => line.trim().split(/\s{2,}/))
      // What every account may ask of itself and of the server's description.
      .filter(([resource = '']) => resource !== '' && !resource.startsWith('[') && !resource.startsWith('selfsubject'))
      .map((words) => `${words[0] ?? ''} ${words.at(-1) ?? ''}`)
      .sort();
    expect(allowed).toEqual(
      [
        'events.events.k8s.io [create]',
        'imagepulljobs.apps.kruise.io [get list create patch delete]',
        'persistentvolumeclaims [get create patch delete]',
        'pipelines.podline.dev [get list watch patch]',
        'pipelines.podline.dev/scale [patch]',
        'pipelines.podline.dev/status [patch]',
        'poddisruptionbudgets.policy [get create patch]',
        'pods [get list watch patch create delete]',
        'pods/log [get]',
        'pods/resize [patch]',
        'pods/status [patch]',
        'podunavailablebudgets.policy.kruise.io [get create patch]',
        'limitranges [get list watch]',
        'resourcequotas [get list watch]',
        'subjectaccessreviews.authorization.k8s.io [create]',
        'tokenreviews.authentication.k8s.io [create]',
        'services [get create patch]',
        'statefulsets.apps [get list watch create patch]',
        'statefulsets.apps.kruise.io [get list watch create patch]',
      ].sort(),
    );
    const may = (...what: string[]): Promise<string> =>
      kubectl('auth', 'can-i', ...what, as).catch((error: unknown) => (error as { stdout: string }).stdout.trim());
    expect(await may('get', 'secrets', '-n', namespace)).toBe('no');
    expect(await may('create', 'pods', '--subresource=exec', '-n', namespace)).toBe('no');
    for (const elsewhere of ['get pods', 'create pods', 'list pipelines.podline.dev', 'patch nodes'])
      expect(await may(...elsewhere.split(' '), '-n', 'default')).toBe('no');
  });

  needs('kubernetes').it('gives lines and stages no account of the API server', async () => {
    const pods = await podline(
      'get',
      'pods',
      '-l',
      'app.kubernetes.io/name=podline-line',
      '-o',
      'jsonpath={.items[*].spec.automountServiceAccountToken}',
    );
    expect(new Set(pods.split(' '))).toEqual(new Set(['false']));
    const found = await podline(
      'exec',
      'double-0',
      '-c',
      'slot-0',
      '--',
      'node',
      '-e',
      `process.stdout.write(String(require('node:fs').existsSync('/var/run/secrets/kubernetes.io')))`,
    );
    expect(found).toBe('false');
    // What a stage can try all the same: as nobody, and with the agent's token, which is made for the coordinator.
    const read = `process.stdout.write(require('node:fs').readFileSync('/podline-credentials/token', 'utf8'))`;
    const token = await podline('exec', 'double-0', '-c', 'agent', '--', 'node', '-e', read);
    const ask = `
      const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = process.env;
      const [token] = process.argv.slice(1);
      const headers = token === undefined ? {} : { authorization: 'Bearer ' + token };
      const path = '/api/v1/namespaces/${namespace}/pods';
      require('node:https').get({ host, port, path, headers, rejectUnauthorized: false }, ({ statusCode }) => {
        process.stdout.write(String(statusCode));
        process.exit();
      });`;
    const answered = (...more: string[]): Promise<string> =>
      podline('exec', 'double-0', '-c', 'slot-0', '--', 'node', '-e', ask, ...more);
    expect(['401', '403']).toContain(await answered());
    expect(await answered(token)).toBe('401');
  });

  needs('cluster', 'busybox-static').it(
    'has a stage’s image pulled onto the nodes of its lines, by a job of its own',
    async () => {
      // An image that no node has, whatever ran before.
      await writeFile(join(dir, 'mark'), String(process.pid));
      const image = (await clusterScript(['foreign-image', 'busybox', join(dir, 'mark')])).replace('@', ':latest@');
      const copy = { name: 'copy', command: ['cat'], stdio: 'ndjson', image, resources: { memory: '64Mi' } };
      await apply('pulled', { stages: [copy] });
      const pulled = await eventually('the pull', async () => {
        const { items } = await kubectlJson<{ items: PullJob[] }>('-n', namespace, 'get', 'imagepulljobs', ...of('pulled'));
        return items.find(({ status }) => (status?.succeeded ?? 0) > 0);
      });
      expect(pulled).toMatchObject({ spec: { image: image.replace(/@.*/, '') }, status: { desired: 1, succeeded: 1 } });
      expect(pulled.status?.failed ?? 0).toBe(0);
      await waitFor('pulled', 'Complete');
      await podline('delete', 'pipeline', 'pulled', '--timeout=60s');
    },
  );

  needs('cluster').it('writes nothing to the API server while nothing is to do', async () => {
    await podline('delete', 'pipeline', 'failing', 'tagged', 'cycle', 'typed', '--timeout=60s');
    const linesOf = (name: string): Promise<string> => podline('get', 'pods', ...of(name), '-o', 'name');
    await eventually('one line alone', async () =>
      (await Promise.all(['failing', 'typed', 'pulled'].map(linesOf))).join('') === '' ? true : undefined,
    );
    // What was deleted is written down everywhere first.
    const cpuMs = await eventually(
      'rest',
      async () => {
        const [usedMs, writes] = [await coordinatorCpuMs(), (await coordinatorWrites()).length];
        await lasting(restMs);
        const written = (await coordinatorWrites()).slice(writes);
        if (written.length > 0) throw new Error(`it wrote: ${written.join(', ')}`);
        return (await coordinatorCpuMs()) - usedMs;
      },
      6 * restMs,
    );
    keepFigures('rest', [{ coordinator: 'with one line at rest', cpuPercent: ((100 * cpuMs) / restMs).toFixed(2) }]);
  });
});
