/**
 * The pods of lines as they are seen, and the swaps in them: what every driver of a cluster does, whoever made the pods.
 *
 * Owns what is remembered of each pod between two looks at it, and a queue of patches per pod. Leaves to `pod-swapper.ts` how a
 * patch is sent, to `verdict.ts` what a status means, and to the shim's hello the proof that a swap is done.
 *
 * Invariants
 *  1. Only stages of the pipeline are put into its slots, and only images pinned by digest.
 *  2. A failed swap is told once per pod and step.
 *  3. A pod's slots are those that it was created with, whatever the pipeline says now.
 */
import type { DriverEvent, SwapOrder } from '../contracts/driver.js';
import { PodlineError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import type { Pipeline } from '../contracts/manifest.js';
import { parseQuantity } from '../config/units.js';
import { sizeSlots } from '../line/pod-size.js';
import type { Logger } from '../platform/logger.js';
import { agentContainer, slotContainer } from './names.js';
import { PodSwapper, type PodSwapperOptions } from './pod-swapper.js';
import { slotsIn, wantedStep } from './swap-patch.js';
import { SwapRate } from './swap-rate.js';
import { Turns } from './turns.js';
import { containerFault, type PodView } from './verdict.js';

export interface LinePodsOptions {
  logger: Logger;
  delay: (ms: number) => Promise<void>;
  /** [0, 1) */
  random: () => number;
  /** Monotonic. */
  nowMs: () => number;
  /** Over all pods; `limits.swapsPerSecondMax` without it. */
  swapsPerSecondMax?: number | undefined;
}

export interface Workload {
  pipeline: Pipeline;
  /** By StatefulSet: the group that its lines serve, and how many there are to be. */
  groups: ReadonlyMap<string, { group: string; lines: number }>;
  /** Of the pods that are created from now on. */
  slots: number;
  /** In which a stage without one of its own runs, pinned by digest. */
  image: string;
  /** Of a line whose pipeline does not say. */
  cores: number;
  /** Of the namespace of the pods. */
  kube: PodSwapperOptions['kube'];
  /** What a line is called, by the name of its pod: unique over all namespaces. */
  lineOf: (podName: string) => string;
}

/** What is remembered of a pod between two looks at it. */
interface LineMemory {
  podName: string;
  uid: string;
  slots: SlotMemory[];
  fault: PodlineError | undefined;
  /** In the scheduler's words. */
  unschedulable: string | undefined;
  resizePending: string | undefined;
}
interface SlotMemory {
  step: string | undefined;
  restartCount: number;
  /** Swaps that were ordered and whose restart has not been seen. */
  restartsDue: number;
  /** The step whose failure was told. */
  toldStep: string | undefined;
  fault: PodlineError | undefined;
  /** The API server did not take the last swap; it may take the next one. */
  refused: PodlineError | undefined;
}

/** A line that was started, and what keeps it, or a slot of it, from working. */
export interface SeenLine {
  line: string;
  pod: string;
  /** Of the pod that is there now: its agent names itself after it (`PODLINE_INSTANCE`). */
  uid: string;
  group: string;
  faults: PodlineError[];
  unschedulable: string | undefined;
  resizePending: string | undefined;
}

/** Over all pods: as many as an API server takes from one client without making it wait. */
const swapsAtOnceMax = 32;

interface Tracked extends Workload {
  swapper: PodSwapper;
  isEnding?: boolean;
  memory: Map<string, LineMemory>;
}

export class LinePods {
  readonly #workloads = new Map<string, Tracked>();
  readonly #listeners = new Set<(event: DriverEvent) => void>();
  readonly #turns = new Turns(swapsAtOnceMax);
  readonly #rate: SwapRate;

  constructor(private readonly options: LinePodsOptions) {
    this.#rate = new SwapRate({ ...options, swapsPerSecondMax: options.swapsPerSecondMax ?? limits.swapsPerSecondMax });
  }

  /** Pods of the pipeline are looked at, and swapped in, from now on; what is remembered of them stays. Answers whether it is new. */
  track(workload: Workload): boolean {
    const { pipeline, kube } = workload;
    const known = this.#workloads.get(pipeline.name);
    const { logger, delay, random } = this.options;
    const gracePeriodMs = pipeline.spec.swap.gracePeriodSeconds * 1_000;
    const same = known?.pipeline.spec.swap.gracePeriodSeconds === pipeline.spec.swap.gracePeriodSeconds;
    const swapper =
      known !== undefined && same
        ? known.swapper
        : new PodSwapper({ kube, logger, delay, random, gracePeriodMs, turns: this.#turns, rate: this.#rate });
    this.#workloads.set(pipeline.name, { ...workload, swapper, memory: known?.memory ?? new Map<string, LineMemory>() });
    return known === undefined;
  }

  /** Nothing of it is remembered from here on, and nothing told. */
  forget(pipeline: string): void {
    this.#workloads.delete(pipeline);
  }

  /** The pipeline is gone, and its pods go: each is told of as gone for good, and the last one is forgotten with the pipeline. */
  end(pipeline: string): void {
    const workload = this.#workloads.get(pipeline);
    if (workload === undefined) return;
    const groups = new Map([...workload.groups].map(([name, { group }]) => [name, { group, lines: 0 }]));
    if (workload.memory.size === 0) this.forget(pipeline);
    else this.#workloads.set(pipeline, { ...workload, groups, isEnding: true });
  }

  tracked(pipeline: string): Workload | undefined {
    return this.#workloads.get(pipeline);
  }

  get names(): string[] {
    return [...this.#workloads.keys()];
  }

  linesOf(pipeline: string): SeenLine[] {
    const workload = this.#workloads.get(pipeline);
    if (workload === undefined) return [];
    return [...workload.memory].map(([line, { podName, uid, slots, fault, unschedulable, resizePending }]) => ({
      line,
      pod: podName,
      uid,
      group: groupOfPod(workload, podName)?.group ?? '',
      faults: [fault, ...slots.map((slot) => slot.fault ?? slot.refused)].filter((found) => found !== undefined),
      unschedulable,
      resizePending,
    }));
  }

  subscribe(listener: (event: DriverEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Resolves when the API server took the patch; with a grace period before it, at once. Throws PDL_SWAP_FAILED, PDL_SWAP_NOT_TAKEN. */
  async swap(order: SwapOrder): Promise<void> {
    const { line, pipeline, slot, stage, step } = order;
    const resolved = pipeline.stages.find(({ name }) => name === stage);
    const workload = this.#workloads.get(pipeline.name);
    if (workload === undefined)
      throw new PodlineError('PDL_SWAP_NOT_TAKEN', `the lines of the pipeline \`${pipeline.name}\` have not been seen yet`, {
        hint: 'A coordinator that has just begun sees them in a moment.',
      });
    const memory = workload.memory.get(line);
    if (resolved === undefined || slot >= (memory?.slots.length ?? workload.slots)) {
      throw new PodlineError(
        'PDL_SWAP_FAILED',
        `the pipeline \`${pipeline.name}\` has no stage \`${stage}\` or no slot ${String(slot)}`,
        { retry: 'never' },
      );
    }
    const podName = memory?.podName ?? line;
    const seen = memory?.slots[slot];
    const { cpu } = pipeline.spec.resources;
    const cores = cpu === undefined ? workload.cores : parseQuantity(cpu);
    const sizes = pipeline.spec.swap.resize
      ? (held: readonly (string | undefined)[]) => sizeSlots(pipeline, held, cores)
      : undefined;
    const patched = workload.swapper
      .swap(podName, { slot, stage, step, image: resolved.image ?? workload.image, sizes }, memory?.uid)
      .then(() => {
        if (seen !== undefined) seen.refused = undefined;
      })
      .catch((thrown: unknown) => {
        const error = PodlineError.from(thrown, 'PDL_SWAP_FAILED');
        // By the API server; that the pod goes is no refusal.
        if (seen !== undefined && error.code === 'PDL_SWAP_NOT_TAKEN' && error.cause !== undefined) seen.refused = error;
        this.#tell({ type: 'swapFailed', pipeline: pipeline.name, line, slot, step, error: error.toWire() });
        throw error;
      });
    // The wait before a container is reloaded is not the caller's: the order is taken, and what goes wrong is an event.
    if (pipeline.spec.swap.gracePeriodSeconds > 0) patched.catch(() => undefined);
    else await patched;
  }

  /** A pod of the pipeline is there, or has changed. */
  changed(pipeline: string, pod: PodView): void {
    const workload = this.#workloads.get(pipeline);
    if (workload === undefined) return;
    const line = workload.lineOf(pod.name);
    let memory = workload.memory.get(line);
    if (memory !== undefined && memory.uid !== pod.uid)
      this.gone(pipeline, { ...pod, uid: memory.uid }, 'the pod was replaced by another one: its scratch is gone');
    memory = workload.memory.get(line);
    if (memory === undefined) {
      memory = {
        podName: pod.name,
        uid: pod.uid,
        slots: Array.from({ length: slotsIn(pod) || workload.slots }, (_, slot) => firstSight(pod, slot)),
        fault: undefined,
        unschedulable: undefined,
        resizePending: undefined,
      };
      workload.memory.set(line, memory);
      this.#tell({ type: 'lineStarted', pipeline, line, group: groupOfPod(workload, pod.name)?.group });
    }
    for (const [slot, seen] of memory.slots.entries()) this.#lookAtSlot(pipeline, line, pod, slot, seen);
    memory.fault = containerFault(pod, agentContainer);
    memory.unschedulable = pod.unschedulable;
    memory.resizePending = pod.resizePending;
    if (memory.fault !== undefined)
      this.options.logger.warn({ pod: pod.name, code: memory.fault.code }, `the agent of ${pod.name}: ${memory.fault.message}`);
  }

  gone(pipeline: string, pod: PodView, reason = 'the pod was deleted'): void {
    const workload = this.#workloads.get(pipeline);
    const line = workload?.lineOf(pod.name);
    if (workload === undefined || line === undefined || workload.memory.get(line)?.uid !== pod.uid) return;
    workload.memory.delete(line);
    const ordinal = Number(pod.name.slice(pod.name.lastIndexOf('-') + 1));
    this.#tell({ type: 'lineEnded', pipeline, line, reason, gone: ordinal >= (groupOfPod(workload, pod.name)?.lines ?? 0) });
    if (workload.isEnding === true && workload.memory.size === 0) this.forget(pipeline);
  }

  #tell(event: DriverEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  #lookAtSlot(pipeline: string, line: string, pod: PodView, slot: number, seen: SlotMemory): void {
    const step = wantedStep(pod, slot);
    const container = pod.containers.find(({ name }) => name === slotContainer(slot));
    if (step !== seen.step) {
      seen.step = step;
      // Two orders may follow each other before the first restart is seen; the kubelet then restarts twice, or once for both.
      seen.restartsDue = Math.min(seen.restartsDue + 1, 2);
    }
    if (container !== undefined && container.restartCount > seen.restartCount) {
      const unasked = container.restartCount - seen.restartCount - seen.restartsDue;
      if (unasked > 0) {
        const reason =
          container.ended === undefined
            ? 'the container was started again'
            : `${container.ended.reason} (exit code ${String(container.ended.exitCode)})`;
        this.#tell({ type: 'slotEnded', pipeline, line, slot, reason });
      }
      seen.restartsDue = Math.max(0, -unasked);
      seen.restartCount = container.restartCount;
    }
    const fault = containerFault(pod, slotContainer(slot), seen.restartsDue === 0);
    seen.fault = fault;
    if (fault !== undefined && step !== undefined && step !== '' && seen.toldStep !== step) {
      seen.toldStep = step;
      this.#tell({ type: 'swapFailed', pipeline, line, slot, step, error: fault.toWire() });
    }
  }
}

const groupOfPod = ({ groups }: Workload, podName: string): { group: string; lines: number } | undefined =>
  groups.get(podName.slice(0, podName.lastIndexOf('-')));

function firstSight(pod: PodView, slot: number): SlotMemory {
  const container = pod.containers.find(({ name }) => name === slotContainer(slot));
  return {
    step: wantedStep(pod, slot),
    restartCount: container?.restartCount ?? 0,
    restartsDue: 0,
    toldStep: undefined,
    fault: undefined,
    refused: undefined,
  };
}
