/**
 * What the agent does about slots: greets shims, orders swaps, ends a process that does not listen.
 *
 * Decides nothing: what a hello or a loss means is the heart's to say.
 */
import { PodlineError } from '../../runtime/contracts/errors.js';
import type { ResolvedStage } from '../../runtime/contracts/manifest.js';
import type { Hello } from '../../runtime/contracts/shim-protocol.js';
import type { Agent } from './agent.js';

export class SlotWork {
  readonly #swapStartedMs = new Map<string, { stage: string; atMs: number }>();
  readonly #loadedStage = new Map<number, string>();
  readonly #pids = new Map<number, number>();
  readonly #swapsOf: number[] = [];
  readonly #busyMs: number[] = [];
  readonly #busySinceMs: (number | undefined)[] = [];

  constructor(private readonly agent: Agent) {}

  get pids(): number[] {
    return [...this.#pids.values()];
  }

  hello(slot: number, hello: Hello): void {
    this.agent.options.logger.debug({ slot, stage: hello.stage, step: hello.step, pid: hello.pid }, 'a shim said hello');
    this.#pids.set(slot, hello.pid);
    this.agent.runs.prepared.slotGone(slot);
    const stage = this.agent.stageNamed(hello.stage);
    this.agent.dispatch({ type: 'slotHello', slot, stage: hello.stage, step: hello.step });
    const state = this.agent.slotState(slot);
    // A shim whose step is not the current one is on its way out: it hears nothing and parks until it is ended.
    if (stage === undefined || state === undefined || state.phase === 'empty' || state.step !== hello.step) return;
    this.#loadedStage.set(slot, stage.name);
    const { dir, spillDir, sizeBytesMax } = this.agent.options.scratchOptions;
    this.agent.shims?.send(slot, {
      type: 'welcome',
      stage,
      kind: stage.declares === undefined ? stage.output : kindOf(stage.declares.form),
      scratch: { dir, sizeBytesMax, spillDir, medium: this.agent.options.scratchOptions.medium },
      workers: this.agent.options.cores,
    });
  }

  async swap(slot: number, stage: string, stepId: string): Promise<void> {
    this.#swapStartedMs.set(stepId, { stage, atMs: this.agent.options.nowMs() });
    this.#loadedStage.delete(slot);
    try {
      await this.agent.options.client.swap({ slot, stage, step: stepId });
    } catch (thrown) {
      this.#swapStartedMs.delete(stepId);
      this.agent.dispatch({
        type: 'swapFailed',
        slot,
        step: stepId,
        error: PodlineError.from(thrown, 'PDL_SWAP_FAILED').toWire(),
      });
    }
  }

  /** The shim that a step put into the slot has loaded its stage. */
  ready(slot: number, step: string): void {
    const swap = this.#swapStartedMs.get(step);
    if (swap !== undefined) {
      this.#swapStartedMs.delete(step);
      this.#swapDone(slot, swap.stage, this.agent.options.nowMs() - swap.atMs);
    }
    this.agent.dispatch({ type: 'slotReady', slot, step });
  }

  /** A run has been put into the slot, or none is in it any more. */
  busy(slot: number, isBusy: boolean): void {
    const nowMs = this.agent.options.nowMs();
    const sinceMs = this.#busySinceMs[slot];
    if (sinceMs !== undefined) this.#busyMs[slot] = (this.#busyMs[slot] ?? 0) + nowMs - sinceMs;
    this.#busySinceMs[slot] = isBusy ? nowMs : undefined;
  }

  busyMsOf(slot: number): number {
    const sinceMs = this.#busySinceMs[slot];
    return (this.#busyMs[slot] ?? 0) + (sinceMs === undefined ? 0 : this.agent.options.nowMs() - sinceMs);
  }

  swapsOf(slot: number): number {
    return this.#swapsOf[slot] ?? 0;
  }

  stageOf(slot: number): string | undefined {
    return this.#loadedStage.get(slot);
  }

  #swapDone(slot: number, stage: string, ms: number): void {
    this.#swapsOf[slot] = (this.#swapsOf[slot] ?? 0) + 1;
    // A swap is paid for by the shard that has been here longest: the plan made it for that one first.
    const first = this.agent.residents.values().next();
    if (first.done !== true) first.value.report.swapped(stage, ms);
    this.agent.note('slot.swapped', undefined, { slot, stage, ms });
  }

  /** The connection of its shim is gone, and with it, as a rule, the shim. */
  gone(slot: number): void {
    // Before its hello was heard there is none: then the shim is gone because a swap wanted it to go.
    const stage = this.#loadedStage.get(slot);
    const error = new PodlineError(
      'PDL_STAGE_DIED',
      `the shim of slot ${String(slot)}, which held stage ${stage ?? 'none'}, is gone`,
      {
        place: `slot ${String(slot)}`,
      },
    );
    if (stage !== undefined) this.agent.note('slot.lost', undefined, { slot, stage });
    this.#pids.delete(slot);
    this.agent.runs.forget((run) => run.slot === slot);
    this.agent.runs.prepared.slotGone(slot);
    this.busy(slot, false);
    this.agent.dispatch({ type: 'slotLost', slot, error: error.toWire() });
  }

  /** Ends the process of a slot that did not listen; its keeper (kubelet, local driver) starts it again and it says hello. */
  kill(slot: number, reason: string): void {
    const pid = this.#pids.get(slot);
    this.agent.options.logger.warn({ slot, pid, reason }, 'the process of a slot is ended');
    // The end of pid 1 in a shared process namespace would restart the whole pod.
    if (pid === undefined || pid <= 1) return;
    try {
      process.kill(pid, 'SIGKILL');
    } catch (thrown) {
      this.agent.options.logger.warn({ slot, pid, err: String(thrown) }, 'could not end it; hung up on it instead');
      this.agent.shims?.hangUp(slot);
    }
  }
}

const kindOf = (form: NonNullable<ResolvedStage['declares']>['form']): 'table' | 'bytes' | 'files' =>
  form === 'bytes' || form === 'files' ? form : 'table';
