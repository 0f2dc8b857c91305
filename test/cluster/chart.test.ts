/** The Helm chart and the kustomization are one installation: what they render is the same, object by object. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { packageRoot } from '../../runtime/platform/entries.js';
import { needs } from '../support/require.js';
import { clusterScript } from './support/cluster.js';

const run = promisify(execFile);
const digest = `sha256:${'0'.repeat(64)}`;

interface Rendered {
  kind: string;
  metadata: { name: string };
}

/** By kind and name; YAML 1.1, as kubectl and helm read it. */
function objectsOf(text: string): Map<string, Rendered> {
  const objects = parseAllDocuments(text, { version: '1.1' }).map((document) => document.toJS() as Rendered | null);
  return new Map(
    objects.flatMap((object) => (object === null ? [] : [[`${object.kind} ${object.metadata.name}`, object] as const])),
  );
}

needs('cluster').describe('the Helm chart', () => {
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
    ['namespaced', 'watch=namespaced'],
    ['cluster-wide', 'watch=cluster'],
  ] as const) {
    needs('cluster').it(`renders what the overlay ${overlay} does`, async () => {
      const [chart, overlaid] = [await charted(value), await kustomized(overlay)];
      expect([...chart.keys()].sort()).toEqual([...overlaid.keys()].sort());
      for (const [name, object] of overlaid) expect(chart.get(name), name).toEqual(object);
    });
  }

  needs('cluster').it('refuses to be installed with an image that is not pinned', async () => {
    await expect(charted('image.digest=')).rejects.toThrow(/pinned by digest/);
  });

  needs('cluster').it('takes the installation’s settings from its values', async () => {
    const settings = (await charted('lines.cores=16', 'lines.volumeClaim=shared')).get(
      'ConfigMap podline-settings',
    ) as unknown as { data: Record<string, string> };
    expect(settings.data).toMatchObject({ PODLINE_CORES: '16', PODLINE_VOLUME_CLAIM: 'shared' });
    expect(settings.data).not.toHaveProperty('PODLINE_VOLUME_HOST_PATH');
  });
});
