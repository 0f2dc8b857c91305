/** The Helm chart and the kustomization are one installation: what they render is the same, object by object. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { serverConfigSchema } from '../../runtime/contracts/server-config.js';
import { packageRoot } from '../../runtime/platform/entries.js';
import { needs } from '../support/require.js';
import { clusterScript } from './support/cluster.js';

const run = promisify(execFile);
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
    const args = ['template', 'podline', join(packageRoot, 'manifests/helm/podline'), '-n', 'podline', '--include-crds', ...sets];
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
