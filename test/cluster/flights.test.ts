/**
 * `examples/flights/pipeline.yaml` itself, the file of the laptop, by `kubectl apply`: three million flights through five stages in one pod,
 * the result compared number by number with that of the same file as processes on this machine.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { afterAll, beforeAll, expect } from 'vitest';
import type { RunSummary } from '../../runtime/cli/summary.js';
import { entryPath, packageRoot } from '../../runtime/platform/entries.js';
import { needs } from '../support/require.js';
import { eventually, kubectl, kubectlJson, volumeDir, type Pod } from './support/cluster.js';
import { install, namespace, type Installation } from './support/installation.js';

const manifest = join(packageRoot, 'examples', 'flights', 'pipeline.yaml');
const data = 'node_modules/vega-datasets';

needs('kubernetes').describe('kubectl apply -f examples/flights/pipeline.yaml', () => {
  let dir: string;
  let installation: Installation;
  let laptop: RunSummary;
  const sightings: { uid: string; ip: string | undefined; node: string | undefined; images: string }[] = [];

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podline-flights-'));
    const here = ['run', manifest, '--work-dir', join(dir, 'work'), '--result-dir', join(dir, 'results'), '--json'];
    laptop = JSON.parse(
      (await promisify(execFile)(process.execPath, [entryPath('runtime/cli/main'), ...here])).stdout,
    ) as RunSummary;
    const files = ['package.json', 'data/flights-3m.parquet'];
    const extra = files.map((file) => `${join(packageRoot, data, file)}:/podline/${data}/${file}`);
    installation = await install('namespaced', { pipelines: [manifest], extra });
    await kubectl('-n', namespace, 'apply', '-f', manifest);
    await eventually('the pod', async () => {
      const pod = await kubectlJson<Pod>('-n', namespace, 'get', 'pod', 'flights-0');
      return pod.status.podIP === undefined ? undefined : true;
    });
    let complete = false;
    const waiting = kubectl('-n', namespace, 'wait', '--for=condition=Complete', 'pipeline/flights', '--timeout=180s').finally(
      () => {
        complete = true;
      },
    );
    do {
      const { metadata, spec, status } = await kubectlJson<Pod>('-n', namespace, 'get', 'pod', 'flights-0');
      const images = (status.containerStatuses ?? []).map(({ restartCount }) => String(restartCount)).join();
      sightings.push({ uid: metadata.uid, ip: status.podIP, node: spec.nodeName, images });
    } while (!complete);
    await waiting;
  });

  afterAll(async () => {
    await installation?.close();
    await rm(dir, { recursive: true, force: true });
  });

  needs('kubernetes').it('completes, and its hash, asked of the API, is that of the laptop', async () => {
    const client = await installation.client();
    try {
      const { shards } = await client.list('flights');
      expect(shards.map(({ state, result }) => [state, result?.hash])).toEqual(
        laptop.results.map(({ hash }) => ['completed', hash]),
      );
    } finally {
      await client.close();
    }
  });

  needs('cluster').it('lies on the volume, and every number is that of the laptop', async () => {
    const root = join(volumeDir, 'results', 'flights', 'results', 'flights');
    const [folder = expect.fail('there is no result')] = await readdir(root);
    const there = join(root, folder);
    const here = laptop.results[0]?.dir ?? '';
    const rows = async (dir: string): Promise<unknown[]> =>
      parquetReadObjects({ file: await asyncBufferFromFile(join(dir, 'aggregate.parquet')), compressors });
    const expected = await rows(here);
    expect(expected.length).toBeGreaterThan(10_000);
    expect(await rows(there)).toEqual(expected);
    const json = async (file: string): Promise<unknown> => JSON.parse(await readFile(file, 'utf8'));
    expect(await json(join(there, 'report.json'))).toEqual(await json(join(here, 'report.json')));
    expect(((await json(join(there, 'manifest.json'))) as { hash: string }).hash).toBe(laptop.results[0]?.hash);
  });

  needs('kubernetes').it('ran in one pod, whose uid, address and node were the same from the first stage to the last', () => {
    expect(new Set(sightings.map(({ uid, ip, node }) => [uid, ip, node].join())).size).toBe(1);
    // And yet its containers were others and others.
    expect(new Set(sightings.map(({ images }) => images)).size).toBeGreaterThan(1);
  });
});
