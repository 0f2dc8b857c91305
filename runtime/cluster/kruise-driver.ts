/**
 * Lines as pods of an OpenKruise Advanced StatefulSet, one per pipeline; a swap is one patch of one pod.
 *
 * Owns the watch of the pods. Leaves to `plan-pod.ts` what a pod looks like, to `pod-swapper.ts` how a patch is sent, to
 * `verdict.ts` what a status means, and to the shim's hello the proof that a swap is done.
 *
 * Invariants
 *  1. Only stages of the pipeline are put into its slots, and only images pinned by digest.
 *  2. A failed swap is told once per pod and step.
 *  3. A line's name is its pod's: stable over everything that happens to the pod.
 */
import type { DriverEvent, LineDriver, SwapOrder } from '../contracts/driver.js';
import { PodlineError } from '../contracts/errors.js';
import type { Pipeline, ResolvedStage } from '../contracts/manifest.js';
import type { Logger } from '../platform/logger.js';
import type { Kube } from './kube.js';
import { agentContainer, labels, slotContainer } from './names.js';
import { planLines, planService, type LinePodOptions } from './plan-pod.js';
import { PodSwapper } from './pod-swapper.js';
import { wantedStep } from './swap-patch.js';
import { containerFault, type PodView } from './verdict.js';

export interface KruiseDriverOptions {
  kube: Kube;
  pods: Omit<LinePodOptions, 'name' | 'lines' | 'slots'>;
  /** What lines show to the coordinator; kept in the secret `pods.tokenSecret`. */
  token: string;
  slotsOf: (pipeline: Pipeline) => number;
  logger: Logger;
  delay: (ms: number) => Promise<void>;
  /** [0, 1) */
  random: () => number;
}

/** What the driver remembers of a pod between two looks at it. */
interface LineMemory {
  uid: string;
  slots: SlotMemory[];
}
interface SlotMemory {
  step: string | undefined;
  restartCount: number;
  /** Swaps that were ordered and whose restart has not been seen. */
  restartsDue: number;
  /** The step whose failure was told. */
  toldStep: string | undefined;
}

interface Workload {
  pipeline: Pipeline;
  lines: number;
  slots: number;
  swapper: PodSwapper;
  memory: Map<string, LineMemory>;
}

export class KruiseDriver implements LineDriver {
  readonly kind = 'kruise';
  readonly #workloads = new Map<string, Workload>();
  readonly #listeners = new Set<(event: DriverEvent) => void>();

  constructor(private readonly options: KruiseDriverOptions) {}

  async start(pipeline: Pipeline, lines: number): Promise<void> {
    const { kube, pods, token, slotsOf, logger, delay, random } = this.options;
    const slots = slotsOf(pipeline);
    const plan = { ...pods, name: pipeline.name, lines, slots };
    const known = this.#workloads.get(pipeline.name);
    const swapper =
      known?.swapper ??
      new PodSwapper({ kube, logger, delay, random, gracePeriodMs: pipeline.spec.swap.gracePeriodSeconds * 1_000 });
    const workload: Workload = { pipeline, lines, slots, swapper, memory: known?.memory ?? new Map<string, LineMemory>() };
    this.#workloads.set(pipeline.name, workload);
    await kube.putSecret(pods.tokenSecret, { token });
    await kube.putService(planService(pipeline, plan));
    await kube.applyStatefulSet(planLines(pipeline, plan));
    if (known === undefined) {
      await kube.watchPods(`${labels.pipeline}=${pipeline.name}`, {
        changed: (pod) => {
          this.#look(pipeline.name, pod);
        },
        gone: (pod) => {
          this.#gone(pipeline.name, pod, 'the pod was deleted');
        },
      });
    }
  }

  /** Pods that go get SIGTERM and the time of their termination grace to give their shards back. */
  async scale(pipeline: string, lines: number): Promise<void> {
    const workload = this.#workloads.get(pipeline);
    if (workload === undefined)
      throw new PodlineError('PDL_PIPELINE_UNKNOWN', `no lines of the pipeline \`${pipeline}\` were started`);
    workload.lines = lines;
    await this.options.kube.scaleStatefulSet(pipeline, lines);
  }

  /** Resolves when the API server took the patch; with a grace period before it, at once. */
  async swap(order: SwapOrder): Promise<void> {
    const { line, pipeline, slot, stage, step } = order;
    const resolved = pipeline.stages.find(({ name }) => name === stage);
    const workload = this.#workloads.get(pipeline.name);
    if (resolved === undefined || workload === undefined || slot >= workload.slots) {
      throw new PodlineError(
        'PDL_SWAP_FAILED',
        `the pipeline \`${pipeline.name}\` has no stage \`${stage}\` or no slot ${String(slot)}`,
        { retry: 'never' },
      );
    }
    const patched = workload.swapper.swap(
      line,
      { slot, stage, step, image: this.#imageOf(resolved) },
      workload.memory.get(line)?.uid,
    );
    if (pipeline.spec.swap.gracePeriodSeconds === 0) {
      await patched;
      return;
    }
    // The wait before a container is reloaded is not the caller's: the order is taken, and what goes wrong is an event.
    void patched.catch((thrown: unknown) => {
      this.#tell({
        type: 'swapFailed',
        pipeline: pipeline.name,
        line,
        slot,
        step,
        error: PodlineError.from(thrown, 'PDL_SWAP_FAILED').toWire(),
      });
    });
  }

  async stop(pipeline?: string): Promise<void> {
    const names = pipeline === undefined ? [...this.#workloads.keys()] : [pipeline];
    for (const name of names) {
      await this.options.kube.deleteStatefulSet(name);
      this.#workloads.delete(name);
    }
    if (pipeline === undefined) await this.options.kube.close();
  }

  subscribe(listener: (event: DriverEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  #imageOf(stage: ResolvedStage): string {
    return stage.image ?? this.options.pods.image;
  }

  #tell(event: DriverEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  #look(pipeline: string, pod: PodView): void {
    const workload = this.#workloads.get(pipeline);
    if (workload === undefined) return;
    let memory = workload.memory.get(pod.name);
    if (memory !== undefined && memory.uid !== pod.uid)
      this.#gone(pipeline, { ...pod, uid: memory.uid }, 'the pod was replaced by another one: its scratch is gone');
    memory = workload.memory.get(pod.name);
    if (memory === undefined) {
      memory = { uid: pod.uid, slots: Array.from({ length: workload.slots }, (_, slot) => firstSight(pod, slot)) };
      workload.memory.set(pod.name, memory);
      this.#tell({ type: 'lineStarted', pipeline, line: pod.name });
    }
    for (const [slot, seen] of memory.slots.entries()) this.#lookAtSlot(pipeline, pod, slot, seen);
    const agentFault = containerFault(pod, agentContainer);
    if (agentFault !== undefined)
      this.options.logger.warn({ pod: pod.name, code: agentFault.code }, `the agent of ${pod.name}: ${agentFault.message}`);
  }

  #lookAtSlot(pipeline: string, pod: PodView, slot: number, seen: SlotMemory): void {
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
        this.#tell({ type: 'slotEnded', pipeline, line: pod.name, slot, reason });
      }
      seen.restartsDue = Math.max(0, -unasked);
      seen.restartCount = container.restartCount;
    }
    const fault = containerFault(pod, slotContainer(slot), seen.restartsDue === 0);
    if (fault !== undefined && step !== undefined && step !== '' && seen.toldStep !== step) {
      seen.toldStep = step;
      this.#tell({ type: 'swapFailed', pipeline, line: pod.name, slot, step, error: fault.toWire() });
    }
  }

  #gone(pipeline: string, pod: PodView, reason: string): void {
    const workload = this.#workloads.get(pipeline);
    if (workload?.memory.get(pod.name)?.uid !== pod.uid) return;
    workload.memory.delete(pod.name);
    const ordinal = Number(pod.name.slice(pod.name.lastIndexOf('-') + 1));
    this.#tell({ type: 'lineEnded', pipeline, line: pod.name, reason, gone: ordinal >= workload.lines });
  }
}

function firstSight(pod: PodView, slot: number): SlotMemory {
  const container = pod.containers.find(({ name }) => name === slotContainer(slot));
  return { step: wantedStep(pod, slot), restartCount: container?.restartCount ?? 0, restartsDue: 0, toldStep: undefined };
}
