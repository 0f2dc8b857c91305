/**
 * Runs that slots were told of beforehand (`runtime/line/prepare.ts`), until the heart starts them or changes its mind.
 *
 * Such a run may begin, and even end, before the agent has heard that its input is whole: what it says is kept until it is started.
 *
 * Invariants
 *  1. A run is written into the index before its slot hears of it: whatever it commits passes the fence, and a run that the heart starts
 *     in its place shuts it out.
 *  2. A shard is freed when nothing that was prepared for it is at work any more. Who does not end in time is ended.
 */
import { limits } from '../../runtime/contracts/limits.js';
import type { RunEnded } from '../../runtime/contracts/shim-protocol.js';
import type { Span } from '../../runtime/contracts/telemetry.js';
import type { LineEffect } from '../../runtime/line/types.js';
import type { Agent } from './agent.js';
import { requestOf } from './run-request.js';

type PrepareEffect = Extract<LineEffect, { type: 'prepare' }>;

export interface PreparedOnSlot {
  runId: string;
  slot: number;
  shardId: string;
  stage: string;
  epoch: number;
  /** Of the lineage that it was prepared with. */
  digest: string;
  span: Span;
  /** Its slot has been told. */
  isSent: boolean;
  isWithdrawn: boolean;
  /** How it ended, before it was started. */
  ended?: RunEnded | undefined;
}

export class PreparedRuns {
  readonly #runs = new Map<string, PreparedOnSlot>();
  /** What was withdrawn too late, and is whole in the index; by shard and stage, until the stage's turn comes. */
  readonly #done = new Map<string, PreparedOnSlot>();
  #onOver: (() => void)[] = [];

  constructor(private readonly agent: Agent) {}

  get(runId: string): PreparedOnSlot | undefined {
    return this.#runs.get(runId);
  }

  /** What stands in the way of it is told when the run is started. */
  async prepare({ slot, shardId, stage: name, runId, attempt, growing }: PrepareEffect): Promise<void> {
    const resident = this.agent.residents.get(shardId);
    const stage = this.agent.stageNamed(name);
    const lineage = resident?.lineages.get(name);
    if (resident === undefined || stage === undefined || lineage === undefined) return;
    const { scratch, tracing } = this.agent.options;
    const { epoch } = resident.lease;
    const fields = { stage: name, slot, attempt, 'shard.id': shardId, prepared: true };
    const span = tracing.begin('stage', resident.span.trace, fields);
    const run: PreparedOnSlot = {
      ...{ runId, slot, shardId, stage: name, epoch, digest: lineage.digest, span, isSent: false, isWithdrawn: false },
    };
    this.#runs.set(runId, run);
    try {
      await resident.entered;
      if (this.#runs.get(runId) !== run) return;
      await scratch.beginRun(shardId, name, { runId, epoch });
      if (this.#runs.get(runId) !== run) return;
      const request = requestOf(scratch, resident, stage, lineage, { runId, attempt, growing, trace: span.trace });
      run.isSent = this.agent.shims?.send(slot, { type: 'prepare', ...request }) === true;
    } catch {
      // The shard has left the line meanwhile, or there is no room for the record: the run will be started from the beginning, or never.
    }
    if (!run.isSent) this.#drop(run);
  }

  /** The heart starts it: it is a run as any other from here on. Undefined where it has to be started from the beginning. */
  take(runId: string, epoch: number, digest: string): PreparedOnSlot | undefined {
    const run = this.#runs.get(runId);
    if (run === undefined) return undefined;
    if (run.isSent && run.epoch === epoch && run.digest === digest) {
      this.#runs.delete(runId);
      return run;
    }
    this.#drop(run);
    return undefined;
  }

  /** A run that was withdrawn when its work was done already: it is as good as the one that is to be started. */
  takeDone(shardId: string, stage: string, digest: string): PreparedOnSlot | undefined {
    const run = this.#done.get(`${shardId}/${stage}`);
    return run?.digest === digest && this.#done.delete(`${shardId}/${stage}`) ? run : undefined;
  }

  withdraw(runId: string): void {
    const run = this.#runs.get(runId);
    if (run === undefined) return;
    if (!run.isSent || run.ended !== undefined) {
      this.#keepDone(run);
      return;
    }
    run.isWithdrawn = true;
    const isAsked = this.agent.shims?.send(run.slot, { type: 'cancel', runId, reason: 'something else comes first' }) === true;
    if (!isAsked) {
      this.#drop(run);
      return;
    }
    const reason = 'a run that was withdrawn did not end when it was asked to';
    setTimeout(() => {
      if (this.#runs.get(runId) === run) this.agent.kill(run.slot, reason);
    }, limits.terminationGraceMs).unref();
  }

  /** Whether that was one of those here. It counts as soon as the run is started. */
  heardEnd(ended: RunEnded): boolean {
    const run = this.#runs.get(ended.runId);
    if (run === undefined) return false;
    run.ended = ended;
    if (run.isWithdrawn) this.#keepDone(run);
    else if (ended.outcome === 'cancelled') this.#drop(run);
    return true;
  }

  /** The process in the slot is gone, or has lost the connection for which it had prepared it. */
  slotGone(slot: number): void {
    for (const run of [...this.#runs.values()]) if (run.slot === slot) this.#drop(run);
  }

  /** Settles when nothing that was prepared for the shard is at work. */
  async over(shardId: string): Promise<void> {
    for (const run of [...this.#runs.values()]) if (run.shardId === shardId && !run.isWithdrawn) this.withdraw(run.runId);
    while ([...this.#runs.values()].some((run) => run.shardId === shardId))
      await new Promise<void>((resolve) => void this.#onOver.push(resolve));
    for (const [key, run] of this.#done) if (run.shardId === shardId) this.#done.delete(key);
  }

  #keepDone(run: PreparedOnSlot): void {
    if (run.ended?.outcome === 'committed') this.#done.set(`${run.shardId}/${run.stage}`, run);
    this.#drop(run);
  }

  #drop(run: PreparedOnSlot): void {
    if (!this.#runs.delete(run.runId)) return;
    run.span.end({ outcome: 'withdrawn' });
    for (const resolve of this.#onOver.splice(0)) resolve();
  }
}
