/**
 * From a pipeline to the Advanced StatefulSet whose pods are its lines. Pure.
 *
 * Invariants
 *  1. What can change later is only the image of a container and the annotations that name its stage and step: slots, volumes,
 *     environment and limits are fixed when a pod is created.
 *  2. The template's slots hold no stage: a pod that was created anew starts empty, as its scratch is.
 *  3. API defaults are written out, so that what is stored equals what was sent and an edit shows as an edit.
 *  4. Every container has a memory limit; pages of the tmpfs are charged to the container that wrote them, so each limit of one
 *     that writes covers the scratch too.
 *  5. No container has a token of the API server.
 *  6. The command of a slot is the static shim, which an init container has put onto a volume: it runs in any image, and hands over to
 *     the Node shim where the image carries that.
 */
import { dirname } from 'node:path';
import { env } from '../contracts/env.js';
import { limits } from '../contracts/limits.js';
import type { Pipeline } from '../contracts/manifest.js';
import { parseBytes } from '../config/units.js';
import { parseImageName } from './image-string.js';
import { agentContainer, imageStagesDir, labels, podPaths, slotContainer, stageAnnotation, stepAnnotation } from './names.js';
import { PodlineError } from '../contracts/errors.js';

export interface LinePodOptions {
  namespace: string;
  /** Of the StatefulSet, of its governing service, and, with an ordinal, of each pod. */
  name: string;
  lines: number;
  slots: number;
  /** Runtime image pinned by digest: agent, and shim of every TypeScript stage. */
  image: string;
  /** As pods reach it. */
  coordinatorUrl: string;
  /** Secret with the lines' token under the key `token`. */
  tokenSecret: string;
  /** Folder of the node that stands for its SSD; the lines' user must be able to write to it. */
  ssdHostPath: string;
  /** Where major checkpoints go: a claim, or a folder that is the same on every node. */
  volume: { claim: string } | { hostPath: string };
  /** Folders of the node that the agent sees under the same path: sources and results. */
  hostFolders?: { path: string; readOnly: boolean }[] | undefined;
  /** uid and gid of all containers. */
  user: number;
  logLevel?: string | undefined;
}

const mib = 2 ** 20;
/** Beside the streams: the LMDB index and its freelist. */
const indexBytes = 128 * mib;
const agentBytes = 512 * mib;
const defaultStageBytes = 512 * mib;
const runFolderBytes = 16 * mib;
const installBytes = 64 * mib;
const shimFolderBytes = 16 * mib;

const quantity = (bytes: number): string => `${String(Math.ceil(bytes / mib))}Mi`;

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
  memory: { requestBytes: number; limitBytes: number },
): Record<string, unknown> {
  return {
    name,
    image,
    imagePullPolicy: 'IfNotPresent',
    command,
    env: variables,
    volumeMounts: mounts,
    resources: { requests: { memory: quantity(memory.requestBytes) }, limits: { memory: quantity(memory.limitBytes) } },
    securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
  };
}

/** The object to create. Throws PDL_SWAP_FAILED when the image is not pinned by digest. */
export function planLines(pipeline: Pipeline, options: LinePodOptions): Record<string, unknown> {
  if (parseImageName(options.image).digest === undefined) {
    throw new PodlineError('PDL_SWAP_FAILED', `the image \`${options.image}\` of the lines is not pinned by digest`, {
      retry: 'never',
    });
  }
  const { spec } = pipeline;
  const scratchBytes = parseBytes(spec.scratch.size) + indexBytes;
  const inMemory = spec.scratch.medium === 'Memory';
  const writtenBytes = inMemory ? scratchBytes : 0;
  const stageBytes = Math.max(
    defaultStageBytes,
    ...pipeline.stages.map((stage) => (stage.resources.memory === undefined ? 0 : parseBytes(stage.resources.memory))),
  );
  const selector = { [labels.app]: 'podline-line', [labels.pipeline]: pipeline.name };

  const shared = [
    constant(env.socket, podPaths.socket),
    constant(env.scratchDir, podPaths.scratch),
    constant(env.logLevel, options.logLevel ?? 'info'),
  ];
  const mounts: VolumeMount[] = [
    { name: 'scratch', mountPath: podPaths.scratch },
    { name: 'run', mountPath: podPaths.run },
    { name: 'ssd', mountPath: podPaths.ssd },
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
      { name: env.token, valueFrom: { secretKeyRef: { name: options.tokenSecret, key: 'token' } } },
      constant(env.pipeline, pipeline.name),
      constant(env.slots, String(options.slots)),
      constant(env.scratchMedium, inMemory ? 'memory' : 'ssd'),
      constant(env.ssdDir, podPaths.ssd),
      constant(env.volumeDir, podPaths.volume),
      field(env.line, 'metadata.name'),
      field(env.instance, 'metadata.uid'),
      field(env.node, 'spec.nodeName'),
    ],
    [
      ...mounts,
      { name: 'volume', mountPath: podPaths.volume },
      ...folders.map((folder, number) => ({
        name: `folder-${String(number)}`,
        mountPath: folder.path,
        readOnly: folder.readOnly,
      })),
    ],
    { requestBytes: agentBytes + writtenBytes, limitBytes: agentBytes + writtenBytes },
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
        constant(env.stagesDir, imageStagesDir(pipeline.name)),
        field(env.stage, `metadata.annotations['${stageAnnotation(slot)}']`),
        field(env.step, `metadata.annotations['${stepAnnotation(slot)}']`),
      ],
      [...mounts, { name: 'shim', mountPath: dirname(podPaths.shim), readOnly: true }],
      { requestBytes: stageBytes, limitBytes: stageBytes + writtenBytes },
    ),
  );
  const install = container(
    'install-shim',
    options.image,
    ['/podline/bin/podline-shim', 'install', podPaths.shim],
    [],
    [{ name: 'shim', mountPath: dirname(podPaths.shim) }],
    { requestBytes: installBytes, limitBytes: installBytes },
  );
  const hostPath = (path: string, type: string): Record<string, unknown> => ({ hostPath: { path, type } });
  const memory = (bytes: number): Record<string, unknown> => ({ emptyDir: { medium: 'Memory', sizeLimit: quantity(bytes) } });

  return {
    apiVersion: 'apps.kruise.io/v1beta1',
    kind: 'StatefulSet',
    metadata: { name: options.name, namespace: options.namespace, labels: { ...selector, [labels.managedBy]: 'podline' } },
    spec: {
      replicas: options.lines,
      serviceName: options.name,
      podManagementPolicy: 'Parallel',
      revisionHistoryLimit: 10,
      selector: { matchLabels: selector },
      // Images are the driver's to patch, pod by pod: an edit of the template must not create a pod anew.
      updateStrategy: { type: 'OnDelete' },
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
          restartPolicy: 'Always',
          schedulerName: 'default-scheduler',
          securityContext: { runAsNonRoot: true, runAsUser: options.user, runAsGroup: options.user, fsGroup: options.user },
          shareProcessNamespace: true,
          terminationGracePeriodSeconds: Math.ceil(limits.terminationGraceMs / 1_000) + 5,
          volumes: [
            { name: 'scratch', ...(inMemory ? memory(scratchBytes) : { emptyDir: { sizeLimit: quantity(scratchBytes) } }) },
            { name: 'run', ...memory(runFolderBytes) },
            { name: 'shim', emptyDir: { sizeLimit: quantity(shimFolderBytes) } },
            { name: 'temporary', emptyDir: {} },
            { name: 'ssd', ...hostPath(options.ssdHostPath, 'Directory') },
            {
              name: 'volume',
              ...('claim' in options.volume
                ? { persistentVolumeClaim: { claimName: options.volume.claim } }
                : hostPath(options.volume.hostPath, 'Directory')),
            },
            ...folders.map((folder, number) => ({ name: `folder-${String(number)}`, ...hostPath(folder.path, 'Directory') })),
          ],
        },
      },
    },
  };
}

/** The headless service that gives each line a stable name: `<line>.<name>.<namespace>`. */
export function planService(pipeline: Pipeline, options: Pick<LinePodOptions, 'name' | 'namespace'>): Record<string, unknown> {
  const selector = { [labels.app]: 'podline-line', [labels.pipeline]: pipeline.name };
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: options.name, namespace: options.namespace, labels: { ...selector, [labels.managedBy]: 'podline' } },
    spec: { clusterIP: 'None', publishNotReadyAddresses: true, selector },
  };
}
