/**
 * What the agent does about runs: starts them on slots, hears how they end, and believes the index and not the message.
 */
import { PodlineError } from '../../runtime/contracts/errors.js';
import type { RunEnded, ShimToAgent } from '../../runtime/contracts/shim-protocol.js';
import { visibleParameters } from '../../runtime/line/lineage.js';
import type { LineEffect } from '../../runtime/line/types.js';
import type { Agent } from './agent.js';
import type { RunOnSlot } from './resident.js';
import { makeRoom } from './room.js';

export class RunWork {
  readonly #runs = new Map<string, RunOnSlot>();

  constructor(private readonly agent: Agent) {}

  all(): RunOnSlot[] {
    return [...this.#runs.values()];
  }

  get(runId: string | undefined): RunOnSlot | undefined {
    return runId === undefined ? undefined : this.#runs.get(runId);
  }

  progressed({ runId, blocks, blocksTotal, rows }: Extract<ShimToAgent, { type: 'progress' }>): void {
    const run = this.#runs.get(runId);
    if (run !== undefined) Object.assign(run, { blocks, blocksTotal, rows });
  }

  async start(effect: Extract<LineEffect, { type: 'start' }>): Promise<void> {
    const { slot, shardId, stage: stageName, runId, attempt } = effect;
    const resident = this.agent.residents.get(shardId);
    const stage = this.agent.stageNamed(stageName);
    const lineage = resident?.lineages.get(stageName);
    const { scratch } = this.agent.options;
    try {
      if (resident === undefined || stage === undefined || lineage === undefined) throw goneError(runId);
      if (this.#isSealed(shardId, stageName, lineage.digest)) {
        // The word of its end was lost, not its work.
        this.agent.dispatch({ type: 'runCommitted', slot, runId });
        return;
      }
      await scratch.beginRun(shardId, stageName, { runId, epoch: resident.lease.epoch });
      // The shim may have gone and come back while the index was written.
      const now = this.agent.slotState(slot);
      if (now?.phase !== 'running' || now.runId !== runId) return;
      const handoverMs = this.agent.options.nowMs() - effect.readySinceMs;
      const sent =
        this.agent.shims?.send(slot, {
          type: 'start',
          runId,
          shardId,
          shardKey: resident.lease.key,
          epoch: resident.lease.epoch,
          attempt,
          parameters: visibleParameters(stage, resident.lease.parameters),
          inputs: stage.after,
          lineage,
          consumed: scratch.progress(shardId, stageName)?.consumed ?? 0,
        }) === true;
      // Where nobody was there to hear it, `shimGone` has been said or will be: the heart learns it from there.
      if (!sent) return;
      const failure = resident.failures.get(stageName);
      resident.report.started(
        stageName,
        slot,
        handoverMs,
        attempt,
        failure === undefined ? undefined : `it runs again: ${failure.message}`,
      );
      this.#runs.set(runId, { runId, shardId, stage: stageName, slot, blocks: 0, blocksTotal: 0, rows: 0, handoverMs });
      this.agent.options.logger.debug({ shardId, stage: stageName, slot, runId, attempt }, 'a run was started');
      this.agent.note('stage.started', shardId, { stage: stageName, slot, attempt, handoverMs });
    } catch (thrown) {
      this.agent.dispatch({ type: 'runFailed', slot, runId, error: PodlineError.from(thrown).toWire() });
    }
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
    resident.report.ended(run.stage, ended);
    const sealed = this.agent.options.scratch.stream(run.shardId, run.stage);
    const wanted = resident.lineages.get(run.stage);
    if (ended.outcome === 'committed' && sealed?.sealed === true && sealed.lineage.digest === wanted?.digest) {
      resident.failures.delete(run.stage);
      resident.report.sealed(run.stage, sealed.blocks, sealed.rows);
      this.agent.note('stage.completed', run.shardId, {
        stage: run.stage,
        rows: sealed.rows,
        blocks: sealed.blocks,
        workMs: ended.workMs,
        handoverMs: run.handoverMs + ended.startMs,
        bytes: ended.bytes,
      });
      this.agent.dispatch({ type: 'runCommitted', slot, runId: ended.runId });
      return;
    }
    const error =
      ended.error ??
      new PodlineError('PDL_STAGE_FAILED', `stage ${run.stage} was ${ended.outcome} and its stream is not whole`).toWire();
    resident.failures.set(run.stage, error);
    if (ended.outcome !== 'cancelled') {
      this.agent.options.logger.warn(
        { shardId: run.shardId, stage: run.stage, code: error.code, err: error.message },
        'a stage failed',
      );
      this.agent.note('stage.failed', run.shardId, { stage: run.stage, code: error.code, message: error.message });
    }
    this.agent.dispatch({ type: 'runFailed', slot, runId: ended.runId, error });
  }

  /** The scratch is full and a run asks for room. */
  async room(slot: number, runId: string, bytes: number): Promise<void> {
    const run = this.#runs.get(runId);
    const answer = run === undefined ? 'none' : await makeRoom(this.agent, bytes);
    this.agent.shims?.send(slot, { type: 'roomAnswer', runId, answer });
  }

  /** Their ends, when they come, are of no interest any more. */
  forget(which: (run: RunOnSlot) => boolean): void {
    for (const run of [...this.#runs.values()]) if (which(run)) this.#runs.delete(run.runId);
  }

  #isSealed(shardId: string, stream: string, digest: string): boolean {
    const record = this.agent.options.scratch.stream(shardId, stream);
    return record?.sealed === true && record.lineage.digest === digest;
  }
}

const goneError = (runId: string): PodlineError =>
  new PodlineError('PDL_LEASE_LOST', `run ${runId} is of a shard that has left the line`);
