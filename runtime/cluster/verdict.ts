/**
 * What the status of a pod says about a slot. Pure.
 *
 * A container that runs proves nothing, the shim's hello does; but what keeps a container from running is written here, and
 * waiting for a hello that cannot come would cost a whole time limit.
 */
import { PodlineError } from '../contracts/errors.js';

/** The part of `V1ContainerStatus` that is looked at. */
export interface ContainerView {
  name: string;
  restartCount: number;
  waiting?: { reason: string; message: string } | undefined;
  /** How the container ended: now, or the time before. */
  ended?: { reason: string; exitCode: number } | undefined;
}

export interface PodView {
  name: string;
  uid: string;
  resourceVersion: string;
  deleting: boolean;
  /** The status speaks of the specification as it is now, not of one before. */
  statusIsCurrent: boolean;
  annotations: Record<string, string>;
  ip: string | undefined;
  node: string | undefined;
  /** Why the scheduler finds no node for it, in its words. */
  unschedulable?: string | undefined;
  /** Why its node does not give it what it asks for since it was resized, in the kubelet's words. */
  resizePending?: string | undefined;
  /** By container, what it asks its node for. */
  requests?: Record<string, Record<string, string>> | undefined;
  containers: ContainerView[];
}

const neverPassing = new Set(['InvalidImageName', 'ErrImageNeverPull', 'CreateContainerConfigError']);
const pulling = new Set(['ErrImagePull', 'ImagePullBackOff', 'ImageInspectError', 'RegistryUnavailable']);
const starting = new Set(['CreateContainerError', 'RunContainerError', 'StartError', 'ContainerCannotRun']);

/**
 * Why the container cannot come to life, when it cannot; `undefined` while it runs or is on its way. `hasStarted`: it was started
 * at least once in its present form; a crash before that is one of the form before, which the kubelet goes on telling of
 * until the start.
 */
export function containerFault(pod: PodView, containerName: string, hasStarted = true): PodlineError | undefined {
  const container = pod.containers.find(({ name }) => name === containerName);
  const waiting = container?.waiting;
  if (!pod.statusIsCurrent || container === undefined || waiting === undefined) return undefined;
  const place = `pod ${pod.name}, container ${containerName}`;
  const detail = waiting.message === '' ? '' : `: ${waiting.message}`;
  if (pulling.has(waiting.reason)) {
    return new PodlineError('PDL_SWAP_FAILED', `${waiting.reason}: the image cannot be pulled${detail}`, {
      place,
      hint: 'Check that the registry has the image and that the node may pull it.',
    });
  }
  if (neverPassing.has(waiting.reason))
    return new PodlineError('PDL_SWAP_FAILED', `${waiting.reason}${detail}`, { place, retry: 'never' });
  if (starting.has(waiting.reason))
    return new PodlineError('PDL_SWAP_FAILED', `${waiting.reason}: the container cannot be started${detail}`, { place });
  if (waiting.reason === 'CrashLoopBackOff' && hasStarted) {
    if (container.ended?.reason === 'OOMKilled') {
      return new PodlineError(
        'PDL_STAGE_MEMORY',
        `OOMKilled: the container went over its memory limit, ${String(container.restartCount)} times by now`,
        { place },
      );
    }
    const code = container.ended === undefined ? '' : `, the last time with exit code ${String(container.ended.exitCode)}`;
    return new PodlineError('PDL_SWAP_FAILED', `CrashLoopBackOff: the shim ended by itself${code}`, {
      place,
      hint: 'Read the log of the container.',
    });
  }
  return undefined;
}
