/**
 * From a pipeline to the StatefulSet whose pods are its lines: OpenKruise's or Kubernetes' own. Pure.
 *
 * Invariants
 *  1. What can change later is only the image of a container and the annotations that name its stage and step: slots, volumes,
 *     environment and limits are fixed when a pod is created.
 *  2. The template's slots hold no stage: a pod that was created anew starts empty, as its scratch is.
 *  3. API defaults are written out, so that what is stored equals what was sent and an edit shows as an edit.
 *  4. Every container has a memory limit; pages of the tmpfs are charged to the container that wrote them, so each limit of one
 *     that writes covers the scratch too.
 *  5. No container has a token that the API server takes. That of the coordinator is mounted into the agent's alone; stages share its processes'
 *     namespace and its user, so one that looks for it under /proc finds it (docs/security.md).
 *  6. The command of a slot is the static shim, which an init container has put onto a volume: it runs in any image, and hands over to
 *     the Node shim where the image carries that.
 *  7. What the pod asks of its node is what may be used at once (`line/pod-size.ts`), not what all stages use together.
 */
import { dirname } from 'node:path';
import { env } from '../contracts/env.js';
import { limits } from '../contracts/limits.js';
import type { Pipeline } from '../contracts/manifest.js';
import { parseBytes, parseQuantity } from '../config/units.js';
import { defaultGroup, workloadName } from '../line/groups.js';
import { defaultStageBytes, sizePod, type Need, type PodSize } from '../line/pod-size.js';
import { parseImageName } from './image-string.js';
import {
  agentContainer,
  gateType,
  imageStagesDir,
  labels,
  podPaths,
  slotContainer,
  stageAnnotation,
  stepAnnotation,
} from './names.js';
import { PodlineError } from '../contracts/errors.js';
import { planSsdClaim, ssdVolume, type ClaimStorage } from './plan-claims.js';
import { placementOf } from './plan-placement.js';
import type { PodSpec } from './quota-plan.js';

export interface LinePodOptions {
  namespace: string;
  /** Of the pipeline's resource, and of the service of its lines. */
  name: string;
  /** The group that the lines serve; `default` without it. Another one's StatefulSet has its name behind the pipeline's. */
  group?: string | undefined;
  lines: number;
  slots: number;
  /** Runtime image pinned by digest: agent, and shim of every TypeScript stage. */
  image: string;
  /** As pods reach it. */
  coordinatorUrl: string;
  /** What a line shows to the coordinator. */
  credentials: Credentials;
  /** Folder of the node that stands for its SSD; the lines' user must be able to write to it. */
  ssdHostPath: string;
  /** In place of that folder, each line claims storage of its own, which is its node's. */
  ssdClaim?: ClaimStorage | undefined;
  /** Where major checkpoints go: a claim, or a folder that is the same on every node. */
  volume: { claim: string } | { hostPath: string };
  /** Folders of the node that the agent sees under the same path: sources and results. */
  hostFolders?: { path: string; readOnly: boolean }[] | undefined;
  /** uid and gid of all containers. */
  user: number;
  logLevel?: string | undefined;
  /** More that the agent finds in its environment. */
  agentVariables?: Readonly<Record<string, string>> | undefined;
  /** Whose StatefulSet; OpenKruise's without it. */
  workload?: Workloads | undefined;
  /** Cores of a line that does not say; 1 without it. */
  cores?: number | undefined;
  /** A pod is ready when the coordinator has heard its agent, and says so (`line-gates.ts`). Without it, when its containers run. */
  isGated?: boolean | undefined;
  /** Behind the name of the pod in that of the line, where pods of several namespaces work for one coordinator. */
  lineSuffix?: string | undefined;
}

/**
 * `secret`: one token for all lines, under the key `token`. `audience`: each pod's own, which the kubelet makes and renews; it is good for
 * whoever is named, and not for the API server. `authority`: ConfigMap whose `ca.crt` the agents trust beside what Node does.
 */
export type Credentials = { secret: string } | { audience: string; authority?: string | undefined };

/** Whose StatefulSet the lines are: `kruise` an Advanced one of OpenKruise, `native` a plain one. */
export type Workloads = 'kruise' | 'native';

const mib = 2 ** 20;
/** Beside the streams: the LMDB index and its freelist. */
const indexBytes = 128 * mib;
const agentBytes = 512 * mib;
const runFolderBytes = 16 * mib;
const installBytes = 64 * mib;
const shimFolderBytes = 16 * mib;
/** The kubelet renews it at four fifths of that. */
const tokenSeconds = 3_600;

const quantity = (bytes: number): string => `${String(Math.ceil(bytes / mib))}Mi`;

/** As the API server takes it. Who asks for no cpu says nothing of it. */
export const requestsOf = ({ memoryBytes, cpu }: Need): { cpu?: string; memory: string } => ({
  ...(cpu === 0 ? {} : { cpu: `${String(Math.ceil(cpu * 1_000))}m` }),
  memory: quantity(memoryBytes),
});

interface EnvVar {
  name: string;
  value?: string;
  valueFrom?: Record<string, unknown>;
}
interface VolumeMount {
  name: string;
  mountPath: string;
  readOnly?: boolean;
}

const constant = (name: string, value: string): EnvVar => ({ name, value });
const field = (name: string, fieldPath: string): EnvVar => ({ name, valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } } });

function container(
  name: string,
  image: string,
  command: string[],
  variables: EnvVar[],
  mounts: VolumeMount[],
  { requestBytes, limitBytes, cpu }: { requestBytes: number; limitBytes: number; cpu: number },
): Record<string, unknown> {
  return {
    name,
    image,
    imagePullPolicy: 'IfNotPresent',
    command,
    env: variables,
    volumeMounts: mounts,
    resources: {
      requests: requestsOf({ memoryBytes: requestBytes, cpu }),
      limits: { memory: quantity(limitBytes) },
    },
    securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
  };
}

/** What a line's pod asks for: of its stages, and in all. Throws PDL_MANIFEST_INVALID when the manifest gives it less than that. */
export function sizeLine(pipeline: Pipeline, { slots, cores = 1 }: Pick<LinePodOptions, 'slots' | 'cores'>): LineSize {
  const { spec } = pipeline;
  const scratchBytes = parseBytes(spec.scratch.size) + indexBytes;
  const writtenBytes = spec.scratch.medium === 'Memory' ? scratchBytes : 0;
  const stages = sizePod(pipeline, slots, spec.resources.cpu === undefined ? cores : parseQuantity(spec.resources.cpu));
  const needBytes = agentBytes + writtenBytes + stages.slots.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  const givenBytes = spec.resources.memory === undefined ? needBytes : parseBytes(spec.resources.memory);
  if (givenBytes < needBytes) {
    throw new PodlineError(
      'PDL_MANIFEST_INVALID',
      `a line needs ${quantity(needBytes)} (agent ${quantity(agentBytes)}, scratch ${quantity(writtenBytes)}, stages at once ${quantity(stages.peak.memoryBytes)}), and resources.memory gives it ${quantity(givenBytes)}`,
      { place: 'spec.resources.memory', hint: 'Raise it, leave it out, or ask for fewer slots, less scratch or smaller stages.' },
    );
  }
  return { stages, scratchBytes, writtenBytes, spareBytes: givenBytes - needBytes, podBytes: givenBytes };
}

export interface LineSize {
  stages: PodSize;
  scratchBytes: number;
  /** What is charged to whoever writes it: the scratch, where it lies in memory. */
  writtenBytes: number;
  /** Given beyond the need: for pages that readers keep. */
  spareBytes: number;
  podBytes: number;
}

/** The object to create. Throws PDL_SWAP_FAILED when the image is not pinned by digest, PDL_MANIFEST_INVALID when the pod is too small. */
export function planLines(pipeline: Pipeline, options: LinePodOptions): Record<string, unknown> {
  if (parseImageName(options.image).digest === undefined) {
    throw new PodlineError('PDL_SWAP_FAILED', `the image \`${options.image}\` of the lines is not pinned by digest`, {
      retry: 'never',
    });
  }
  const { spec } = pipeline;
  const size = sizeLine(pipeline, options);
  const { scratchBytes, writtenBytes } = size;
  const inMemory = spec.scratch.medium === 'Memory';
  // A shim has a runtime of its own to hold, whatever its stages say of themselves.
  const stageBytes = Math.max(defaultStageBytes, size.stages.slotLimitBytes) + size.spareBytes;
  const { group = defaultGroup } = options;
  const selector = { ...selectorOf(options.name), [labels.group]: group };

  const shared = [
    constant(env.socket, podPaths.socket),
    constant(env.scratchDir, podPaths.scratch),
    constant(env.logLevel, options.logLevel ?? 'info'),
  ];
  const mounts: VolumeMount[] = [
    { name: 'scratch', mountPath: podPaths.scratch },
    { name: 'run', mountPath: podPaths.run },
    { name: ssdVolume, mountPath: podPaths.ssd },
    { name: 'temporary', mountPath: podPaths.temporary },
  ];
  const folders = options.hostFolders ?? [];
  const agent = container(
    agentContainer,
    options.image,
    ['node', '/podline/dist/sidecars/agent/main.js'],
    [
      ...shared,
      constant(env.coordinatorUrl, options.coordinatorUrl),
      ...credentialVariables(options.credentials),
      constant(env.pipeline, pipeline.name),
      constant(env.group, group),
      constant(env.slots, String(options.slots)),
      constant(env.scratchMedium, inMemory ? 'memory' : 'ssd'),
      constant(env.ssdDir, podPaths.ssd),
      constant(env.volumeDir, podPaths.volume),
      ...(options.lineSuffix === undefined
        ? [field(env.line, 'metadata.name')]
        : [field('POD_NAME', 'metadata.name'), constant(env.line, `$(POD_NAME)${options.lineSuffix}`)]),
      field(env.instance, 'metadata.uid'),
      field(env.node, 'spec.nodeName'),
      ...Object.entries(options.agentVariables ?? {}).map(([name, value]) => constant(name, value)),
    ],
    [
      ...mounts,
      { name: 'volume', mountPath: podPaths.volume },
      ...('audience' in options.credentials ? [{ name: 'credentials', mountPath: podPaths.credentials, readOnly: true }] : []),
      ...folders.map((folder, number) => ({
        name: `folder-${String(number)}`,
        mountPath: folder.path,
        readOnly: folder.readOnly,
      })),
    ],
    {
      requestBytes: agentBytes + writtenBytes + size.spareBytes,
      limitBytes: agentBytes + writtenBytes + size.spareBytes,
      cpu: 0,
    },
  );
  const slotNumbers = Array.from({ length: options.slots }, (_, slot) => slot);
  const slots = slotNumbers.map((slot) =>
    container(
      slotContainer(slot),
      options.image,
      [podPaths.shim],
      [
        ...shared,
        constant(env.slot, String(slot)),
        constant(env.stagesDir, imageStagesDir(options.name)),
        field(env.stage, `metadata.annotations['${stageAnnotation(slot)}']`),
        field(env.step, `metadata.annotations['${stepAnnotation(slot)}']`),
      ],
      [...mounts, { name: 'shim', mountPath: dirname(podPaths.shim), readOnly: true }],
      {
        requestBytes: size.stages.slots[slot]?.memoryBytes ?? 0,
        limitBytes: stageBytes + writtenBytes,
        cpu: size.stages.slots[slot]?.cpu ?? 0,
      },
    ),
  );
  const install = container(
    'install-shim',
    options.image,
    ['/podline/bin/podline-shim', 'install', podPaths.shim],
    [],
    [{ name: 'shim', mountPath: dirname(podPaths.shim) }],
    { requestBytes: installBytes, limitBytes: installBytes, cpu: 0 },
  );
  const hostPath = (path: string, type: string): Record<string, unknown> => ({ hostPath: { path, type } });
  const memory = (bytes: number): Record<string, unknown> => ({ emptyDir: { medium: 'Memory', sizeLimit: quantity(bytes) } });

  return {
    apiVersion: options.workload === 'native' ? 'apps/v1' : 'apps.kruise.io/v1beta1',
    kind: 'StatefulSet',
    metadata: {
      name: workloadName(options.name, group),
      namespace: options.namespace,
      labels: { ...selector, [labels.managedBy]: 'podline' },
    },
    spec: {
      replicas: options.lines,
      serviceName: options.name,
      podManagementPolicy: 'Parallel',
      revisionHistoryLimit: 10,
      selector: { matchLabels: selector },
      // Images are the driver's to patch, pod by pod: an edit of the template must not create a pod anew.
      updateStrategy: { type: 'OnDelete' },
      ...(options.ssdClaim === undefined ? {} : planSsdClaim(options.ssdClaim)),
      template: {
        metadata: {
          labels: { ...selector, [labels.managedBy]: 'podline' },
          annotations: Object.fromEntries(
            slotNumbers.flatMap((slot) => [
              [stageAnnotation(slot), ''],
              [stepAnnotation(slot), ''],
            ]),
          ),
        },
        spec: {
          automountServiceAccountToken: false,
          initContainers: [install],
          containers: [agent, ...slots],
          dnsPolicy: 'ClusterFirst',
          enableServiceLinks: false,
          ...(options.isGated === true ? { readinessGates: [{ conditionType: gateType }] } : {}),
          restartPolicy: 'Always',
          schedulerName: 'default-scheduler',
          securityContext: { runAsNonRoot: true, runAsUser: options.user, runAsGroup: options.user, fsGroup: options.user },
          shareProcessNamespace: true,
          ...placementOf(spec.placement, selector),
          terminationGracePeriodSeconds: Math.ceil(limits.terminationGraceMs / 1_000) + 5,
          volumes: [
            { name: 'scratch', ...(inMemory ? memory(scratchBytes) : { emptyDir: { sizeLimit: quantity(scratchBytes) } }) },
            { name: 'run', ...memory(runFolderBytes) },
            { name: 'shim', emptyDir: { sizeLimit: quantity(shimFolderBytes) } },
            { name: 'temporary', emptyDir: {} },
            // Kubernetes puts the volume of a claim beside these.
            ...(options.ssdClaim === undefined ? [{ name: ssdVolume, ...hostPath(options.ssdHostPath, 'Directory') }] : []),
            {
              name: 'volume',
              ...('claim' in options.volume
                ? { persistentVolumeClaim: { claimName: options.volume.claim } }
                : hostPath(options.volume.hostPath, 'Directory')),
            },
            ...credentialVolumes(options.credentials),
            ...folders.map((folder, number) => ({ name: `folder-${String(number)}`, ...hostPath(folder.path, 'Directory') })),
          ],
        },
      },
    },
  };
}

function credentialVariables(credentials: Credentials): EnvVar[] {
  if ('secret' in credentials)
    return [{ name: env.token, valueFrom: { secretKeyRef: { name: credentials.secret, key: 'token' } } }];
  return [
    constant(env.tokenFile, `${podPaths.credentials}/token`),
    ...(credentials.authority === undefined ? [] : [constant('NODE_EXTRA_CA_CERTS', `${podPaths.credentials}/ca.crt`)]),
  ];
}

/** Mounted into the agent's container alone. */
function credentialVolumes(credentials: Credentials): Record<string, unknown>[] {
  if ('secret' in credentials) return [];
  const { audience, authority } = credentials;
  const sources = [
    { serviceAccountToken: { audience, expirationSeconds: tokenSeconds, path: 'token' } },
    ...(authority === undefined ? [] : [{ configMap: { name: authority, items: [{ key: 'ca.crt', path: 'ca.crt' }] } }]),
  ];
  return [{ name: 'credentials', projected: { defaultMode: 0o400, sources } }];
}

/** The pod of a line, as the StatefulSet has it. Throws as `planLines` does. */
export const podOf = (pipeline: Pipeline, options: LinePodOptions): PodSpec =>
  (planLines(pipeline, options) as { spec: { template: { spec: PodSpec } } }).spec.template.spec;

/** What picks the pods of a pipeline, within its namespace. */
export const selectorOf = (name: string): Record<string, string> => ({ [labels.app]: 'podline-line', [labels.pipeline]: name });

/** The headless service that gives each line a stable name: `<line>.<name>.<namespace>`. */
export function planService(options: Pick<LinePodOptions, 'name' | 'namespace'>): Record<string, unknown> {
  const selector = selectorOf(options.name);
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: options.name, namespace: options.namespace, labels: { ...selector, [labels.managedBy]: 'podline' } },
    spec: { clusterIP: 'None', publishNotReadyAddresses: true, selector },
  };
}
