/**
 * Podline as an administrator installs it: `kubectl apply -k` of an overlay of `manifests/`, with this tree's image, and what the test
 * cluster lacks (a name server, a provisioner of volumes) said in the overlay.
 *
 * Owns the namespace `podline` and its volume; `close` removes both, and the definition with every pipeline.
 */
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { parse } from 'yaml';
import { PodlineClient } from '../../../runtime/api/client.js';
import { packageRoot } from '../../../runtime/platform/entries.js';
import { buildStages } from '../../../runtime/config/stage-index.js';
import { clusterScript, kubectl, volumeDir } from './cluster.js';

export const namespace = 'podline';
/** There is no name server in the test cluster: the Service has an address that is known beforehand. */
const coordinatorIp = '10.96.0.50';
export const coordinatorUrl = `http://${coordinatorIp}:8080`;

export interface Installation {
  image: string;
  /** Speaks to the coordinator as an account that may do everything with pipelines; once, and the caller closes it. */
  client(): Promise<PodlineClient>;
  /** Where results of a pipeline lie whose `result.dir` is left out. */
  resultsOf(pipeline: string): string;
  close(): Promise<void>;
}

export interface InstallOptions {
  /** Manifests whose TypeScript stages the installation's image carries. */
  pipelines?: readonly string[];
  /** More that it carries, `source:target`. */
  extra?: readonly string[];
  /** Of `manifests/components`. */
  components?: readonly string[];
}

export async function install(
  overlay: 'namespaced' | 'cluster-wide',
  { pipelines = [], components = [], extra = [] }: InstallOptions = {},
): Promise<Installation> {
  const dir = await mkdtemp(join(tmpdir(), 'podline-install-'));
  const journal = join(volumeDir, 'journal');
  await rm(journal, { recursive: true, force: true });
  for (const folder of [journal, join(volumeDir, 'results')]) {
    await mkdir(folder, { recursive: true });
    await chmod(folder, 0o777);
  }
  for (const file of pipelines) await buildStages(file, dir);
  await mkdir(join(dir, 'pipelines'), { recursive: true });
  const image = await clusterScript(['image', 'podline/runtime', join(dir, 'pipelines')], {
    PODLINE_IMAGE_EXTRA: extra.join(' '),
  });
  const [newName = '', digest = ''] = image.split('@');
  const root = join(dir, 'overlay');
  await mkdir(root);
  const config = parse(await readFile(join(packageRoot, 'manifests', overlay, 'coordinator.yaml'), 'utf8')) as {
    cluster: { lines: Record<string, unknown> };
  };
  Object.assign(config.cluster.lines, {
    coordinatorUrl,
    ssdHostPath: '/mnt/ssd',
    volumeHostPath: '/mnt/volume',
  });
  await writeFile(join(root, 'coordinator.yaml'), JSON.stringify(config));
  await writeFile(
    join(root, 'kustomization.yaml'),
    JSON.stringify({
      apiVersion: 'kustomize.config.k8s.io/v1beta1',
      kind: 'Kustomization',
      resources: [relative(root, join(packageRoot, 'manifests', overlay))],
      images: [{ name: 'podline/runtime', newName, digest }],
      components: components.map((component) => relative(root, join(packageRoot, 'manifests/components', component))),
      configMapGenerator: [{ name: 'podline-coordinator', namespace, behavior: 'replace', files: ['coordinator.yaml'] }],
      generatorOptions: { disableNameSuffixHash: true },
      patches: [
        {
          target: { kind: 'Service', name: 'podline-coordinator' },
          patch: JSON.stringify([{ op: 'add', path: '/spec/clusterIP', value: coordinatorIp }]),
        },
      ],
    }),
  );
  const volume = join(dir, 'volume.json');
  await writeFile(
    volume,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: 'podline-journal' },
      spec: {
        capacity: { storage: '10Gi' },
        accessModes: ['ReadWriteOnce'],
        persistentVolumeReclaimPolicy: 'Retain',
        hostPath: { path: '/mnt/volume/journal', type: 'Directory' },
        claimRef: { namespace, name: 'journal-podline-coordinator-0' },
      },
    }),
  );
  const close = async (): Promise<void> => {
    await kubectl('delete', 'pipelines.podline.dev', '--all', '-A', '--ignore-not-found', '--timeout=60s').catch(() => '');
    await kubectl('delete', '-k', root, '--ignore-not-found', '--timeout=120s');
    await kubectl('delete', '-f', volume, '--ignore-not-found', '--timeout=60s');
    await rm(dir, { recursive: true, force: true });
  };
  try {
    await kubectl('apply', '-f', volume);
    await kubectl('apply', '-k', root);
    await kubectl('-n', namespace, 'rollout', 'status', 'statefulset.apps/podline-coordinator', '--timeout=120s');
  } catch (error) {
    await close();
    throw error;
  }
  return {
    image,
    client: async () => PodlineClient.connect(coordinatorUrl, await tokenOfTester()),
    resultsOf: (pipeline) => join(volumeDir, 'results', pipeline, 'results'),
    close,
  };
}

/** Of an account that may do everything with pipelines, by a role of the cluster: good for whichever coordinator runs. */
async function tokenOfTester(): Promise<string> {
  const verbs = '--verb=submit,read,operate';
  await kubectl('-n', namespace, 'create', 'serviceaccount', 'tester');
  await kubectl('-n', namespace, 'create', 'role', 'tester', verbs, '--resource=pipelines.podline.dev');
  await kubectl('-n', namespace, 'create', 'rolebinding', 'tester', '--role=tester', `--serviceaccount=${namespace}:tester`);
  return kubectl('-n', namespace, 'create', 'token', 'tester');
}
