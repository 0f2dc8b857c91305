/**
 * Sends the patch that puts a stage into a slot of a pod, until the API server has taken it or says that it never will.
 *
 * Owns one queue per pod. Leaves to the shim's hello the proof that the swap is done.
 *
 * Invariants
 *  1. At most one patch of a pod is under way: the kubelet works on a pod serially.
 *  2. A patch goes to the pod that was read, unchanged since: uid and resourceVersion are in it, and a 409 leads to reading again.
 *  3. A step that the pod already asks for is not patched a second time: the call may be repeated.
 *  4. Of several orders for one slot that wait, only the newest is carried out.
 *  5. A pod that is to be resized is resized before the swap, in the same turn, and is swapped whether or not that was taken.
 *  6. Patches that are under way at once are bounded over all pods; the others wait for their turn.
 *     So are tries in a second (`swap-rate.ts`), those that are made again included.
 *  7. Tries are bounded, and the waits between them are random, so that a fleet does not knock in step after an outage. When they are
 *     spent, that is PDL_SWAP_NOT_TAKEN: no failure of the stage, and the line orders again.
 */
import { PodlineError } from '../contracts/errors.js';
import type { Logger } from '../platform/logger.js';
import { KubeFailure, type Kube } from './kube.js';
import { resizePatch, swapPatch, wantedStep, type SwapTarget } from './swap-patch.js';
import type { SwapRate } from './swap-rate.js';
import type { Turns } from './turns.js';
import type { PodView } from './verdict.js';

export interface PodSwapperOptions {
  kube: Pick<Kube, 'pod' | 'patchPod' | 'resizePod'>;
  logger: Logger;
  /** Of all pods of the coordinator. */
  turns: Turns;
  /** Of all pods of the coordinator. */
  rate: Pick<SwapRate, 'wait'>;
  /** The wait before a container is reloaded, `swap.gracePeriodSeconds`. */
  gracePeriodMs: number;
  delay: (ms: number) => Promise<void>;
  /** [0, 1) */
  random: () => number;
}

const triesMax = 8;
const conflictWaitMs = 25;
const serverWaitMs = { initial: 200, max: 5_000 };
/** Below 500, and said for a while only. An API server that has just begun knows neither accounts nor rights: 401 and 403. */
const passing: ReadonlySet<number> = new Set([401, 403, 409, 429]);

export class PodSwapper {
  readonly #queues = new Map<string, Promise<unknown>>();
  /** The newest step that was ordered, by pod and slot: as many as lines have slots, since their names stay. */
  readonly #wanted = new Map<string, string>();

  constructor(private readonly options: PodSwapperOptions) {}

  /**
   * Resolves with the pod as the API server accepted it, or `undefined` when a newer order took its place. Throws PDL_SWAP_FAILED, for
   * good: the object was refused; and PDL_SWAP_NOT_TAKEN, which says nothing of the stage: the pod is going, gone or another one than
   * `uid`, or the API server has answered with passing faults only.
   */
  async swap(podName: string, target: SwapTarget, uid?: string): Promise<PodView | undefined> {
    const { gracePeriodMs, delay } = this.options;
    const slot = `${podName}/${String(target.slot)}`;
    this.#wanted.set(slot, target.step);
    const isWanted = (): boolean => this.#wanted.get(slot) === target.step;
    // Before the queue: the wait of one slot is not the other slots'.
    if (gracePeriodMs > 0) await delay(gracePeriodMs);
    const before = this.#queues.get(podName) ?? Promise.resolve();
    const swap = before.then(() =>
      this.options.turns.take(async () => (isWanted() ? this.#swapNow(podName, target, uid) : undefined)),
    );
    const settled = swap.catch(() => undefined);
    this.#queues.set(podName, settled);
    void settled.then(() => {
      if (this.#queues.get(podName) === settled) this.#queues.delete(podName);
    });
    return swap;
  }

  async #swapNow(podName: string, target: SwapTarget, uid: string | undefined): Promise<PodView> {
    const { kube, delay, random, logger, rate } = this.options;
    const place = `pod ${podName}, slot ${String(target.slot)}`;
    const fail = (message: string, cause?: unknown): PodlineError =>
      new PodlineError('PDL_SWAP_FAILED', message, { place, retry: 'never', cause });
    // Its shards go on elsewhere: were it the stage's fault, they would fail.
    const lost = (message: string): PodlineError =>
      new PodlineError('PDL_SWAP_NOT_TAKEN', message, { place, hint: 'Nothing is to be done: another line takes what it had.' });
    let failure: KubeFailure | undefined;
    for (let tries = 1; tries <= triesMax; tries += 1) {
      await rate.wait();
      try {
        const pod = await kube.pod(podName);
        if (pod === undefined || pod.deleting)
          throw lost(`the pod ${podName} is ${pod === undefined ? 'not there' : 'being deleted'}`);
        if (uid !== undefined && pod.uid !== uid)
          throw lost(`the pod ${podName} is another one now (${pod.uid}, not ${uid}): its scratch is gone`);
        if (wantedStep(pod, target.slot) === target.step) return pod;
        return await kube.patchPod(podName, swapPatch(await this.#resize(pod, target), target));
      } catch (error) {
        if (!(error instanceof KubeFailure)) throw error;
        failure = error;
        const { status } = error;
        if (status !== undefined && status < 500 && !passing.has(status))
          throw fail(`the API server refused the swap: ${error.message}`, error);
        const limitMs =
          status === 409 ? conflictWaitMs * tries : Math.min(serverWaitMs.max, serverWaitMs.initial * 2 ** (tries - 1));
        logger.debug({ pod: podName, step: target.step, status, tries }, 'the swap is patched again');
        if (tries < triesMax) await delay(limitMs * (0.5 + random() / 2));
      }
    }
    const message = `the API server did not take the swap in ${String(triesMax)} tries: ${failure?.message ?? ''}`;
    throw new PodlineError('PDL_SWAP_NOT_TAKEN', message, { place, cause: failure });
  }

  /** Before the swap. What the pod asks for is no reason not to swap: where a resize is refused, it asks for what it did. */
  async #resize(pod: PodView, target: SwapTarget): Promise<PodView> {
    const { kube, logger } = this.options;
    const patch = resizePatch(pod, target);
    if (patch === undefined) return pod;
    try {
      return await kube.resizePod(pod.name, patch);
    } catch (error) {
      const { status } = error as KubeFailure;
      if (status === undefined || status === 409 || status >= 500) throw error;
      logger.warn({ pod: pod.name, step: target.step, status, err: String(error) }, 'the pod is not resized');
      return pod;
    }
  }
}
