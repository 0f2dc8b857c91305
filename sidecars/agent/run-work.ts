/**
 * What the agent does about runs: starts them on slots, hears how they end, and believes the index and not the message.
 */
import { noBytes, type BytesByMedium, type StreamRecord } from '../../runtime/contracts/block.js';
import { PodlineError } from '../../runtime/contracts/errors.js';
import type { RunEnded, ShimToAgent } from '../../runtime/contracts/shim-protocol.js';
import type { Span } from '../../runtime/contracts/telemetry.js';
import { traceFields } from '../../runtime/contracts/trace.js';
import type { LineEffect } from '../../runtime/line/types.js';
import type { Agent } from './agent.js';
import { PreparedRuns } from './prepared-runs.js';
import type { Resident, RunOnSlot } from './resident.js';
import { makeRoom } from './room.js';
import { requestOf } from './run-request.js';

type StartEffect = Extract<LineEffect, { type: 'start' }>;

export class RunWork {
  readonly #runs = new Map<string, RunOnSlot>();
  readonly prepared: PreparedRuns;

  constructor(private readonly agent: Agent) {
    this.prepared = new PreparedRuns(agent);
  }

  all(): RunOnSlot[] {
    return [...this.#runs.values()];
  }

  get(runId: string | undefined): RunOnSlot | undefined {
    return runId === undefined ? undefined : this.#runs.get(runId);
  }

  progressed({ runId, blocks, blocksTotal, rows }: Extract<ShimToAgent, { type: 'progress' }>): void {
    const run = this.#runs.get(runId);
    if (run === undefined) return;
    Object.assign(run, { blocks, blocksTotal, rows });
    const { shardId, stage } = run;
    this.#relayGrowth(shardId, stage);
    // What is at its last block is not worth following, unless it follows something itself: then the last is not known yet.
    if (run.leads || blocks < 1 || (blocks >= blocksTotal && run.growing.size === 0)) return;
    if ((this.agent.options.scratch.stream(shardId, stage)?.blocks ?? 0) < 1) return;
    run.leads = true;
    this.agent.dispatch({ type: 'runGrew', slot: run.slot, runId });
  }

  async start(effect: StartEffect): Promise<void> {
    const { slot, shardId, stage: stageName, runId, attempt } = effect;
    const resident = this.agent.residents.get(shardId);
    const stage = this.agent.stageNamed(stageName);
    const lineage = resident?.lineages.get(stageName);
    const { scratch, tracing } = this.agent.options;
    try {
      if (resident === undefined || stage === undefined || lineage === undefined) throw goneError(runId);
      const left = scratch.stream(shardId, stageName);
      const isThere = left?.sealed === true && left.lineage.digest === lineage.digest;
      const prepared =
        this.prepared.take(runId, resident.lease.epoch, lineage.digest) ??
        (isThere ? this.prepared.takeDone(shardId, stageName, lineage.digest) : undefined);
      if (prepared === undefined && isThere) {
        // The word of its end was lost, not its work.
        this.#committed(resident, left, { slot, runId }, { workMs: 0, bytes: noBytes(), handoverMs: 0 });
        return;
      }
      if (prepared === undefined) {
        await scratch.beginRun(shardId, stageName, { runId, epoch: resident.lease.epoch });
        // The shim may have gone and come back while the index was written.
        const now = this.agent.slotState(slot);
        if (now?.phase !== 'running' || now.runId !== runId) return;
      }
      const growing = effect.growing.filter((stream) => !this.#isSealed(shardId, stream));
      const handoverMs = this.agent.options.nowMs() - effect.readySinceMs;
      const fields = { stage: stageName, slot, attempt, 'shard.id': shardId };
      const span = prepared?.span ?? tracing.begin('stage', resident.span.trace, fields);
      if (prepared?.ended === undefined) {
        const request = requestOf(scratch, resident, stage, lineage, { runId, attempt, growing, trace: span.trace });
        // Where nobody was there to hear it, `shimGone` has been said or will be: the heart learns it from there.
        if (this.agent.shims?.send(slot, { type: 'start', ...request }) !== true) return;
      }
      this.#noteStart(resident, effect, growing, handoverMs, span);
      if (prepared?.ended !== undefined) this.agent.shimSaid(slot, { ...prepared.ended, runId });
    } catch (thrown) {
      this.agent.dispatch({ type: 'runFailed', slot, runId, error: PodlineError.from(thrown).toWire() });
    }
  }

  #noteStart(resident: Resident, effect: StartEffect, growing: readonly string[], handoverMs: number, span: Span): void {
    const { slot, shardId, stage, runId, attempt } = effect;
    const run: RunOnSlot = {
      ...{ runId, shardId, stage, slot, blocks: 0, blocksTotal: 0, rows: 0, handoverMs },
      ...{ growing: new Set(growing), leads: false, span },
    };
    this.#runs.set(runId, run);
    this.#introduce(run);
    const failure = resident.failures.get(stage);
    const why =
      failure !== undefined
        ? `it runs again: ${failure.message}`
        : growing.length > 0
          ? `it began on the blocks of ${growing.join(', ')} that were there`
          : undefined;
    resident.report.started(stage, slot, why);
    const fields = { shardId, ...traceFields(span.trace), stage, slot, runId, attempt, growing };
    this.agent.options.logger.debug(fields, 'a run was started');
    this.agent.note('stage.started', shardId, {
      ...{ stage, slot, attempt, handoverMs },
      ...(growing.length === 0 ? {} : { follows: growing }),
    });
  }

  // ---- streaming: a leader's run, and those that read its blocks while they are made -----------------------------

  /** A new run hears who follows it, and those that it follows hear of it. */
  #introduce(run: RunOnSlot): void {
    const isPair = (leader: RunOnSlot, follower: RunOnSlot): boolean =>
      leader.shardId === follower.shardId && follower.growing.has(leader.stage);
    const others = this.all();
    if (others.some((other) => isPair(run, other))) this.#followed(run);
    for (const other of others) if (isPair(other, run)) this.#followed(other);
    // What was committed before `followed` was heard.
    for (const stream of run.growing) this.#tellGrowth(run, stream);
  }

  #followed({ slot, runId }: RunOnSlot): void {
    this.agent.shims?.send(slot, { type: 'followed', runId });
  }

  /** Tells those that read a stream while it grows how far it is; how far is in the index. */
  #relayGrowth(shardId: string, stream: string): void {
    for (const run of this.#runs.values())
      if (run.growing.size > 0 && run.shardId === shardId && run.growing.has(stream)) this.#tellGrowth(run, stream);
  }

  #tellGrowth(run: RunOnSlot, stream: string): void {
    const blocks = this.agent.options.scratch.stream(run.shardId, stream)?.blocks ?? 0;
    const sealed = this.#isSealed(run.shardId, stream);
    if (sealed) run.growing.delete(stream);
    this.agent.shims?.send(run.slot, { type: 'inputGrew', runId: run.runId, stream, blocks, sealed });
  }

  /** After something other than the end of a run may have made streams whole, as a new revision does. */
  relayAll(): void {
    for (const run of this.#runs.values()) for (const stream of run.growing) this.#tellGrowth(run, stream);
  }

  ended(slot: number, ended: RunEnded): void {
    const run = this.#runs.get(ended.runId);
    this.#runs.delete(ended.runId);
    const resident = run === undefined ? undefined : this.agent.residents.get(run.shardId);
    if (run === undefined || resident === undefined) {
      // A run of a shard that is gone: the slot is free again all the same.
      this.agent.dispatch({ type: 'runFailed', slot, runId: ended.runId, error: goneError(ended.runId).toWire() });
      return;
    }
    const { shardId, stage } = run;
    const sealed = this.agent.options.scratch.stream(shardId, stage);
    const wanted = resident.lineages.get(stage);
    const handoverMs = resident.report.handoverMs(stage, ended, run.handoverMs + ended.startMs);
    if (ended.outcome === 'committed' && sealed?.sealed === true && sealed.lineage.digest === wanted?.digest) {
      const { workMs, bytes } = ended;
      this.#committed(resident, sealed, run, { workMs, bytes, handoverMs });
      // Behind the hand-over; the report is read when the shard has been delivered.
      resident.report.ended(stage, ended, handoverMs);
      run.span.end({ outcome: 'committed', rows: sealed.rows, blocks: sealed.blocks });
      return;
    }
    resident.report.ended(stage, ended, handoverMs);
    const error =
      ended.error ??
      new PodlineError('PDL_STAGE_FAILED', `stage ${stage} was ${ended.outcome} and its stream is not whole`).toWire();
    resident.failures.set(stage, error);
    run.span.end({ outcome: ended.outcome }, error);
    if (ended.outcome !== 'cancelled') {
      const fields = { shardId, ...traceFields(run.span.trace), stage, code: error.code, err: error.message };
      this.agent.options.logger.warn(fields, 'a stage failed');
      this.agent.note('stage.failed', shardId, { stage, code: error.code, message: error.message });
    }
    this.agent.dispatch({ type: 'runFailed', slot, runId: ended.runId, error });
  }

  /** Said once of each stage that a line has made: by the run that committed it, or, where that was not heard, by the one that finds it. */
  #committed(
    resident: Resident,
    { stream: stage, rows, blocks }: StreamRecord,
    { slot, runId }: Pick<RunOnSlot, 'slot' | 'runId'>,
    cost: { workMs: number; bytes: BytesByMedium; handoverMs: number },
  ): void {
    const { shardId } = resident.lease;
    resident.failures.delete(stage);
    this.agent.note('stage.completed', shardId, { stage, rows, blocks, ...cost });
    this.agent.dispatch({ type: 'runCommitted', slot, runId });
    this.#relayGrowth(shardId, stage);
    resident.report.sealed(stage, blocks, rows);
  }

  /** A word of a stage, or of its shim. */
  said(slot: number, { runId, level, message }: Extract<ShimToAgent, { type: 'log' }>, loaded: string | undefined): void {
    const run = this.#known(runId);
    const fields = { slot, stage: run?.stage ?? loaded, shardId: run?.shardId, ...traceFields(run?.span.trace) };
    this.agent.options.logger[level](fields, message);
  }

  /** The scratch is full and a run asks for room. */
  async room(slot: number, runId: string, bytes: number): Promise<void> {
    const answer = this.#known(runId) === undefined ? 'none' : await makeRoom(this.agent, bytes);
    this.agent.shims?.send(slot, { type: 'roomAnswer', runId, answer });
  }

  /** Their ends, when they come, are of no interest any more. */
  forget(which: (run: RunOnSlot) => boolean): void {
    for (const run of [...this.#runs.values()]) {
      if (!which(run)) continue;
      run.span.end({ outcome: 'gone' });
      this.#runs.delete(run.runId);
    }
  }

  #known(runId: string | undefined): Pick<RunOnSlot, 'shardId' | 'stage' | 'span'> | undefined {
    return runId === undefined ? undefined : (this.#runs.get(runId) ?? this.prepared.get(runId));
  }

  /** Under the lineage that is wanted now. */
  #isSealed(shardId: string, stream: string): boolean {
    const record = this.agent.options.scratch.stream(shardId, stream);
    return record?.sealed === true && record.lineage.digest === this.agent.residents.get(shardId)?.lineages.get(stream)?.digest;
  }
}

const goneError = (runId: string): PodlineError =>
  new PodlineError('PDL_LEASE_LOST', `run ${runId} is of a shard that has left the line`);
