/**
 * The Helm chart and the kustomization are one installation: what they render is the same, object by object. Installed is the chart, for
 * pipelines of all namespaces: what `install.test.ts` has from the kustomization is one namespace's.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { serverConfigSchema } from '../../runtime/contracts/server-config.js';
import { packageRoot } from '../../runtime/platform/entries.js';
import { needs } from '../support/require.js';
import { clusterScript, kubeconfig, kubectl, kubectlJson, volumeDir } from './support/cluster.js';
import { journalVolume, makeFolders, makeImage } from './support/installation.js';
import { onLine } from './support/on-line.js';

const run = promisify(execFile);
const chart = join(packageRoot, 'manifests/helm/podline');
const digest = `sha256:${'0'.repeat(64)}`;

interface Rendered {
  kind: string;
  metadata: { name: string };
  data?: Record<string, unknown>;
}

/** By kind and name; YAML 1.1, as kubectl and helm read it. The configuration as what it says, not as it is written. */
function objectsOf(text: string): Map<string, Rendered> {
  const objects = parseAllDocuments(text, { version: '1.1' }).map((document) => document.toJS() as Rendered | null);
  for (const object of objects)
    if (object?.kind === 'ConfigMap') object.data = { 'coordinator.yaml': parse(String(object.data?.['coordinator.yaml'])) };
  return new Map(
    objects.flatMap((object) => (object === null ? [] : [[`${object.kind} ${object.metadata.name}`, object] as const])),
  );
}

needs('kubernetes', 'go').describe('the Helm chart', () => {
  let dir: string;
  const kustomized = async (overlay: string): Promise<Map<string, Rendered>> => {
    const resources = [relative(dir, join(packageRoot, 'manifests', overlay))];
    await writeFile(
      join(dir, 'kustomization.yaml'),
      JSON.stringify({ resources, images: [{ name: 'podline/runtime', digest }] }),
    );
    const objects = objectsOf((await run('kubectl', ['kustomize', dir], { maxBuffer: 2 ** 26 })).stdout);
    // Helm makes the namespace by a flag of its own.
    objects.delete('Namespace podline');
    return objects;
  };
  const charted = async (...values: string[]): Promise<Map<string, Rendered>> => {
    const helm = await clusterScript(['tool', 'helm']);
    const sets = [`image.digest=${digest}`, ...values].flatMap((value) => ['--set', value]);
    const args = ['template', 'podline', chart, '-n', 'podline', '--include-crds', ...sets];
    return objectsOf((await run(helm, [...args, '--kube-version', '1.34.0'], { maxBuffer: 2 ** 26 })).stdout);
  };

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podline-chart-'));
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  for (const [overlay, value] of [
    ['namespaced', 'config.cluster.watch=namespaced'],
    ['cluster-wide', 'config.cluster.watch=cluster'],
  ] as const) {
    needs('kubernetes', 'go').it(`renders what the overlay ${overlay} does`, async () => {
      const [chart, overlaid] = [await charted(value), await kustomized(overlay)];
      expect([...chart.keys()].sort()).toEqual([...overlaid.keys()].sort());
      for (const [name, object] of overlaid) expect(chart.get(name), name).toEqual(object);
    });
  }

  needs('kubernetes', 'go').it('refuses to be installed with an image that is not pinned', async () => {
    await expect(charted('image.digest=')).rejects.toThrow(/pinned by digest/);
  });

  needs('kubernetes', 'go').it('lays its values over the configuration', async () => {
    const values = [
      'config.cluster.lines.cores=16',
      'config.cluster.lines.volumeClaim=shared',
      'config.auth.tokens=/etc/podline-secrets/tokens',
    ];
    const config = (await charted(...values)).get('ConfigMap podline-coordinator')?.data?.['coordinator.yaml'];
    expect(config).toMatchObject({
      auth: { kubernetes: {}, tokens: '/etc/podline-secrets/tokens' },
      cluster: { watch: 'namespaced', lines: { cores: 16, volumeClaim: 'shared', ssdHostPath: '/mnt/podline-ssd' } },
    });
    expect(() => serverConfigSchema.parse(config)).not.toThrow();
  });
});

needs('cluster', 'go').describe('a release of the Helm chart', () => {
  const [home, elsewhere] = ['podline-charted', 'podline-elsewhere'];
  let dir: string;
  let volume: string;
  const helm = async (...args: string[]): Promise<string> => {
    const program = await clusterScript(['tool', 'helm']);
    return (await run(program, ['--kubeconfig', kubeconfig, '-n', home, ...args], { maxBuffer: 2 ** 26 })).stdout;
  };
  const isUp = (): Promise<string> =>
    kubectl('-n', home, 'rollout', 'status', 'statefulset.apps/podline-coordinator', '--timeout=120s');

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podline-release-'));
    volume = join(dir, 'volume.json');
    await makeFolders();
    await writeFile(volume, JSON.stringify(journalVolume(home)));
    await kubectl('apply', '-f', volume);
  });
  afterAll(async () => {
    await kubectl('delete', 'pipelines.podline.dev', '--all', '-A', '--ignore-not-found', '--timeout=60s').catch(() => '');
    await helm('uninstall', 'podline', '--ignore-not-found', '--wait', '--timeout=120s');
    await kubectl('delete', 'namespace', home, elsewhere, '--ignore-not-found', '--timeout=120s');
    // Helm leaves what lies in `crds` to the administrator.
    await kubectl('delete', 'crd', 'pipelines.podline.dev', '--ignore-not-found', '--timeout=60s');
    await kubectl('delete', '-f', volume, '--ignore-not-found', '--timeout=60s');
    await rm(dir, { recursive: true, force: true });
  });

  needs('cluster', 'go').it('is installed and upgraded, and takes a pipeline of another namespace to its result', async () => {
    const [repository = '', pinned = ''] = (await makeImage(dir)).split('@');
    const values = [
      `image.repository=${repository}`,
      `image.digest=${pinned}`,
      'config.cluster.watch=cluster',
      'config.cluster.lines.ssdHostPath=/mnt/ssd',
      'config.cluster.lines.volumeHostPath=/mnt/volume',
    ];
    const sets = values.flatMap((value) => ['--set', value]);
    await helm('install', 'podline', chart, '--create-namespace', '--wait', '--timeout=120s', ...sets);
    await isUp();
    // There is no name server in the test cluster: lines are told the address that the Service got.
    const { spec } = await kubectlJson<{ spec: { clusterIP: string } }>('-n', home, 'get', 'service', 'podline-coordinator');
    const url = `config.cluster.lines.coordinatorUrl=http://${spec.clusterIP}:8080`;
    await helm('upgrade', 'podline', chart, '--reuse-values', '--set', url);
    // The configuration is read at the start.
    await kubectl('-n', home, 'delete', 'pod', 'podline-coordinator-0');
    await isUp();

    await kubectl('create', 'namespace', elsewhere);
    const double = onLine('const { v } = JSON.parse(line); console.log(JSON.stringify({ v: 2 * v }));');
    const manifest = join(dir, 'charted.json');
    await writeFile(
      manifest,
      JSON.stringify({
        apiVersion: 'podline.dev/v1alpha1',
        kind: 'Pipeline',
        metadata: { name: 'charted' },
        spec: {
          input: { source: { inline: [{ v: 1 }, { v: 2 }] }, format: 'ndjson' },
          scratch: { size: '32Mi' },
          slots: 1,
          stages: [{ name: 'double', command: double, stdio: 'ndjson', resources: { memory: '96Mi' } }],
          result: { format: 'ndjson' },
        },
      }),
    );
    await kubectl('-n', elsewhere, 'apply', '-f', manifest);
    await kubectl('-n', elsewhere, 'wait', '--for=condition=Complete', 'pipeline/charted', '--timeout=180s');
    expect(await kubectl('-n', elsewhere, 'get', 'pods', '-o', 'name')).toBe('pod/charted-0');
    const results = join(volumeDir, 'results');
    const files = (await readdir(results, { recursive: true })).filter((file) => file.endsWith('double.ndjson'));
    const texts = await Promise.all(files.map((file) => readFile(join(results, file), 'utf8')));
    expect(
      texts.map((text) =>
        text
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line) as unknown),
      ),
    ).toEqual([[{ v: 2 }, { v: 4 }]]);
  });
});
