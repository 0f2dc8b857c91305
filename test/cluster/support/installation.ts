/**
 * Podline as an administrator installs it: `kubectl apply -k` of an overlay of `manifests/`, with this tree's image, and what the test
 * cluster lacks (a name server, a provisioner of volumes) said in the overlay. In a cluster that exists, with the image that is named for
 * it and a claim that it provides for.
 *
 * Owns the namespace `podline` and its volume; `close` removes both, and the definition with every pipeline.
 */
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { parse } from 'yaml';
import { PodlineClient } from '../../../runtime/api/client.js';
import type { CallerOptions } from '../../../runtime/api/http-caller.js';
import { packageRoot } from '../../../runtime/platform/entries.js';
import { buildStages } from '../../../runtime/config/stage-index.js';
import { makeCertificate } from '../../support/certificate.js';
import { existingCluster } from '../../support/existing-cluster.js';
import { clusterScript, kubectl, volumeDir } from './cluster.js';
import { forwardPort, serviceAddress, type Forwarded } from './reach.js';

export const namespace = 'podline';
/** There is no name server in the test cluster: the Service has an address that is known beforehand. */
const coordinatorIp = '10.96.0.50';
export const coordinatorUrl = `http://${coordinatorIp}:8080`;

export interface Installation {
  image: string;
  /** Speaks to the coordinator as an account that may do everything with pipelines; once, and the caller closes it. */
  client(options?: Pick<CallerOptions, 'triesMax' | 'delay'>): Promise<PodlineClient>;
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
  /** For the component `postgres`: the address of the database, as pods reach it. */
  journal?: string;
  /** Over `cluster` of the coordinator's configuration. */
  cluster?: Record<string, unknown>;
  /** Over `cluster.lines` of it. */
  lines?: Record<string, unknown>;
  /** More of the coordinator's environment. */
  variables?: readonly EnvVar[];
}

/** What an overlay of its own says where the component `tls` is in it. */
interface Tls {
  /** PEM, whom clients trust. */
  authority: string;
  listen: Record<string, unknown>;
  /** In the folder of the overlay. */
  files: string[];
  variables: EnvVar[];
}

interface EnvVar {
  name: string;
  value?: string;
  valueFrom?: Record<string, unknown>;
}

/** One certificate for the Service and for whatever address a coordinator's pod gets on node 0: names are nobody's here. */
async function prepareTls(root: string): Promise<Tls> {
  const pods = Array.from({ length: 253 }, (_, number) => `IP:10.244.0.${String(number + 2)}`);
  const { key, cert } = makeCertificate(root, 'tls', [`IP:${coordinatorIp}`, ...pods].join());
  await copyFile(cert, join(root, 'ca.crt'));
  await chmod(key, 0o600);
  const file = (name: string): string => `/etc/podline-secrets/${name}`;
  return {
    authority: await readFile(cert, 'utf8'),
    listen: { host: '0.0.0.0', port: 8080, tls: { cert: file('tls.crt'), key: file('tls.key') } },
    files: ['tls.crt', 'tls.key', 'ca.crt'],
    variables: [
      { name: 'POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
      { name: 'PODLINE_LISTEN_ADVERTISE', value: 'https://$(POD_IP):8080' },
    ],
  };
}

/** As an overlay of the administrator's would: over the environment that the coordinator has. */
const withVariables = (env: readonly EnvVar[]): Record<string, unknown> => ({
  apiVersion: 'apps/v1',
  kind: 'StatefulSet',
  metadata: { name: 'podline-coordinator', namespace },
  spec: { template: { spec: { containers: [{ name: 'coordinator', env }] } } },
});

export async function install(
  overlay: 'namespaced' | 'cluster-wide',
  { pipelines = [], components = [], extra = [], journal, cluster = {}, lines = {}, variables = [] }: InstallOptions = {},
): Promise<Installation> {
  const dir = await mkdtemp(join(tmpdir(), 'podline-install-'));
  const image = existingCluster?.image ?? (await makeImage(dir, pipelines, extra));
  if (existingCluster === undefined) await makeFolders();
  const ip = existingCluster === undefined ? coordinatorIp : await serviceAddress(namespace, 'podline-coordinator');
  const [newName = '', digest = ''] = image.split('@');
  const root = join(dir, 'overlay');
  await mkdir(root);
  const config = parse(await readFile(join(packageRoot, 'manifests', overlay, 'coordinator.yaml'), 'utf8')) as {
    listen: Record<string, unknown>;
    cluster: { lines: Record<string, unknown> };
  };
  const tls = components.includes('tls') ? await prepareTls(root) : undefined;
  const url = `${tls === undefined ? 'http' : 'https'}://${ip}:8080`;
  Object.assign(config.cluster, cluster);
  Object.assign(config.cluster.lines, {
    coordinatorUrl: url,
    ...(existingCluster === undefined
      ? { ssdHostPath: '/mnt/ssd', volumeHostPath: '/mnt/volume' }
      : (JSON.parse(existingCluster.lines) as Record<string, unknown>)),
    ...(tls === undefined ? {} : { caFile: '/etc/podline-secrets/ca.crt' }),
    ...lines,
  });
  if (tls !== undefined) config.listen = tls.listen;
  const environment = [...(tls?.variables ?? []), ...variables];
  const secret = {
    name: 'podline-coordinator',
    namespace,
    literals: journal === undefined ? [] : [`journal=${journal}`],
    files: tls?.files ?? [],
  };
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
      ...(secret.literals.length + secret.files.length === 0 ? {} : { secretGenerator: [secret] }),
      generatorOptions: { disableNameSuffixHash: true },
      patches: [
        ...(environment.length === 0 ? [] : [{ patch: JSON.stringify(withVariables(environment)) }]),
        {
          target: { kind: 'Service', name: 'podline-coordinator' },
          patch: JSON.stringify([{ op: 'add', path: '/spec/clusterIP', value: ip }]),
        },
      ],
    }),
  );
  const volume = join(dir, 'volume.json');
  await writeFile(volume, JSON.stringify(journalVolume(namespace)));
  let forwarded: Promise<Forwarded> | undefined;
  const close = async (): Promise<void> => {
    await forwarded?.then((tunnel) => tunnel.close()).catch(() => undefined);
    await kubectl('delete', 'pipelines.podline.dev', '--all', '-A', '--ignore-not-found', '--timeout=60s').catch(() => '');
    await kubectl('delete', '-k', root, '--ignore-not-found', '--timeout=120s');
    if (existingCluster === undefined) await kubectl('delete', '-f', volume, '--ignore-not-found', '--timeout=60s');
    await rm(dir, { recursive: true, force: true });
  };
  try {
    if (existingCluster === undefined) await kubectl('apply', '-f', volume);
    await kubectl('apply', '-k', root);
    await kubectl('-n', namespace, 'rollout', 'status', 'statefulset.apps/podline-coordinator', '--timeout=120s');
  } catch (error) {
    await close();
    throw error;
  }
  return {
    image,
    client: async (options = {}) => {
      // Addresses of Services lead from this machine into the test cluster, and into no other.
      if (existingCluster !== undefined) forwarded ??= forwardPort(namespace, 'service/podline-coordinator', 8080);
      const reached = (await forwarded)?.url ?? url;
      return PodlineClient.connect(reached, await tokenOfTester(), { ...options, authority: tls?.authority });
    },
    resultsOf: (pipeline) => join(volumeDir, 'results', pipeline, 'results'),
    close,
  };
}

/** What the coordinator of that namespace claims: a folder that `makeFolders` makes. */
export const journalVolume = (of: string): Record<string, unknown> => ({
  apiVersion: 'v1',
  kind: 'PersistentVolume',
  metadata: { name: 'podline-journal' },
  spec: {
    capacity: { storage: '10Gi' },
    accessModes: ['ReadWriteOnce'],
    persistentVolumeReclaimPolicy: 'Retain',
    hostPath: { path: '/mnt/volume/journal', type: 'Directory' },
    claimRef: { namespace: of, name: 'journal-podline-coordinator-0' },
  },
});

/** This tree's, with the pipelines' stages, in the registry of the test cluster. */
export async function makeImage(dir: string, pipelines: readonly string[] = [], extra: readonly string[] = []): Promise<string> {
  for (const file of pipelines) await buildStages(file, dir);
  await mkdir(join(dir, 'pipelines'), { recursive: true });
  return clusterScript(['image', 'podline/runtime', join(dir, 'pipelines')], { PODLINE_IMAGE_EXTRA: extra.join(' ') });
}

/** On the volume of the test cluster, without what an earlier installation left there. */
export async function makeFolders(): Promise<void> {
  for (const folder of [join(volumeDir, 'journal'), join(volumeDir, 'results')]) {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    await chmod(folder, 0o777);
  }
}

/** Of an account that may do everything with pipelines, by a role of the cluster: good for whichever coordinator runs. */
async function tokenOfTester(): Promise<string> {
  const verbs = '--verb=submit,read,operate';
  await kubectl('-n', namespace, 'create', 'serviceaccount', 'tester');
  await kubectl('-n', namespace, 'create', 'role', 'tester', verbs, '--resource=pipelines.podline.dev');
  await kubectl('-n', namespace, 'create', 'rolebinding', 'tester', '--role=tester', `--serviceaccount=${namespace}:tester`);
  return kubectl('-n', namespace, 'create', 'token', 'tester');
}
