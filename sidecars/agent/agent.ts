/**
 * The agent of a line: it runs the heart (`runtime/line`) and carries out what the heart decides.
 *
 * Owns the scratch, the shims' socket, the residents and the conversation with the coordinator. Leaves every decision
 * to the heart, every byte to scratch, sources, checkpoints and results, and every process to the driver.
 *
 * Invariants
 *  1. One event at a time: an effect that produces an event at once queues it behind the present one.
 *  2. What the index of the scratch says is true: a run counts as committed when its stream is sealed there under the
 *     wanted lineage, whatever a message said.
 *  3. Nothing is done for a shard whose lease is not ours any more: its resident is gone, and so are its late answers.
 *  4. Streams are given back only by the effects `release` and `free`.
 */
import { PodlineError } from '../../runtime/contracts/errors.js';
import type { EventType } from '../../runtime/contracts/events.js';
import type { Heartbeat, Lease } from '../../runtime/contracts/line-api.js';
import type { Pipeline, ResolvedStage } from '../../runtime/contracts/manifest.js';
import type { Hello, RunEnded, ShimToAgent } from '../../runtime/contracts/shim-protocol.js';
import type { Checkpoints } from '../../runtime/checkpoints/types.js';
import type { LineClient } from '../../runtime/api/line-client.js';
import { buildGraph, type Graph } from '../../runtime/line/graph.js';
import { initialLine, step } from '../../runtime/line/line.js';
import { visibleParameters } from '../../runtime/line/lineage.js';
import { nextReadOf } from '../../runtime/line/memory.js';
import type { KnownStream, LineEffect, LineEvent, LineState } from '../../runtime/line/types.js';
import type { Logger } from '../../runtime/platform/logger.js';
import type { Scratch, ScratchOptions } from '../../runtime/scratch/types.js';
import { checkpointNow, finalCheckpoint } from './checkpointing.js';
import { Heartbeats } from './heartbeats.js';
import { lineConfig } from './planning.js';
import type { Resident, RunOnSlot } from './resident.js';
import { makeRoom } from './room.js';
import { ShardWork } from './shard-work.js';
import type { ShimServer } from './shim-server.js';

export interface AgentOptions {
  line: string;
  instance: string;
  node: string;
  slots: number;
  cores: number;
  scratch: Scratch;
  scratchOptions: ScratchOptions;
  checkpoints: Checkpoints;
  client: LineClient;
  pipeline: Pipeline;
  logger: Logger;
  /** Monotonic, ms. */
  nowMs: () => number;
}

export class Agent {
  readonly residents = new Map<string, Resident>();
  readonly #runs = new Map<string, RunOnSlot>();
  readonly #swapStartedMs = new Map<string, { stage: string; atMs: number }>();
  readonly #loadedStage = new Map<number, string>();
  readonly #pids = new Map<number, number>();
  readonly #swapsOf: number[] = [];
  readonly #work = new ShardWork(this);
  readonly #heartbeats = new Heartbeats(this);
  readonly #queue: LineEvent[] = [];
  readonly #background = new Set<Promise<unknown>>();
  readonly #state: LineState;
  #pipeline: Pipeline;
  #graph: Graph<ResolvedStage>;
  #stepping = false;
  #ending = false;
  #wakeTimer: NodeJS.Timeout | undefined;
  #wakeAtMs = Number.POSITIVE_INFINITY;
  #shims: ShimServer | undefined;

  constructor(readonly options: AgentOptions) {
    this.#pipeline = options.pipeline;
    this.#graph = buildGraph(options.pipeline.stages, options.pipeline.spec.result.stages);
    this.#state = initialLine(lineConfig(options.pipeline, options.slots, options.cores), options.pipeline, options.instance);
  }

  get pipeline(): Pipeline {
    return this.#pipeline;
  }

  get results(): readonly string[] {
    return [...this.#graph.results];
  }

  start(shims: ShimServer): void {
    this.#shims = shims;
    this.dispatch({ type: 'tick' });
    this.#heartbeats.start();
  }

  /** Gives everything back: what is committed is checkpointed, the leases go to whoever asks next. May be called twice. */
  async end(): Promise<void> {
    if (this.#ending) return;
    this.#ending = true;
    clearTimeout(this.#wakeTimer);
    this.#heartbeats.stop();
    this.#work.stop();
    for (const run of this.#runs.values())
      this.#shims?.send(run.slot, { type: 'cancel', runId: run.runId, reason: 'the line ends' });
    const queued = [...this.#state.residents.values()].filter(({ lease, letGo }) => !letGo && !this.residents.has(lease.shardId));
    await Promise.all([
      ...queued.map(({ lease }) => this.#giveBack(lease)),
      ...[...this.residents.values()].map(async (resident) => {
        resident.gone.abort();
        if (resident.completed) return;
        await finalCheckpoint(this, resident, 'the line ends');
        await this.#giveBack(resident.lease);
      }),
    ]);
    await Promise.allSettled(this.#background);
    await this.#heartbeats.sayRest();
  }

  async #giveBack(lease: Lease): Promise<void> {
    const error = new PodlineError('PDL_LINE_DRAINED', `line ${this.options.line} ends and gives the shard back`).toWire();
    await this.options.client.fail({ ...idOf(lease), error, counts: false }, 'once').catch((thrown: unknown) => {
      this.options.logger.warn(
        { shardId: lease.shardId, err: String(thrown) },
        'could not give the shard back; its lease will run out',
      );
    });
  }

  // ---- events in -------------------------------------------------------------------------------

  dispatch(event: LineEvent): void {
    this.#queue.push(event);
    if (this.#stepping) return;
    this.#stepping = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        if (this.#ending) continue;
        for (const effect of step(this.#state, next, this.options.nowMs())) this.#carryOut(effect);
      }
    } finally {
      this.#stepping = false;
    }
  }

  shimSaidHello(slot: number, hello: Hello): void {
    this.options.logger.debug({ slot, stage: hello.stage, step: hello.step, pid: hello.pid }, 'a shim said hello');
    this.#pids.set(slot, hello.pid);
    const stage = this.#stageNamed(hello.stage);
    this.dispatch({ type: 'slotHello', slot, stage: hello.stage, step: hello.step });
    const state = this.#state.slots[slot];
    // A shim whose step is not the current one is on its way out: it hears nothing and parks until it is ended.
    if (stage === undefined || state === undefined || state.phase === 'empty' || state.step !== hello.step) return;
    this.#loadedStage.set(slot, stage.name);
    const { dir, spillDir, sizeBytesMax } = this.options.scratchOptions;
    this.#shims?.send(slot, {
      type: 'welcome',
      stage,
      kind: stage.declares === undefined ? stage.output : kindOf(stage.declares.form),
      scratch: { dir, sizeBytesMax, spillDir, medium: this.options.scratchOptions.medium },
      workers: this.options.cores,
    });
  }

  shimSaid(slot: number, message: Exclude<ShimToAgent, Hello>): void {
    switch (message.type) {
      case 'ready': {
        const swap = this.#swapStartedMs.get(message.step);
        if (swap !== undefined) {
          this.#swapStartedMs.delete(message.step);
          this.#swapDone(slot, swap.stage, this.options.nowMs() - swap.atMs);
        }
        this.dispatch({ type: 'slotReady', slot, step: message.step });
        return;
      }
      case 'unusable':
        this.dispatch({ type: 'slotUnusable', slot, step: message.step, error: message.error });
        return;
      case 'progress': {
        const run = this.#runs.get(message.runId);
        if (run !== undefined)
          Object.assign(run, { blocks: message.blocks, blocksTotal: message.blocksTotal, rows: message.rows });
        return;
      }
      case 'room':
        this.track(this.#room(slot, message.runId, message.bytes));
        return;
      case 'ended':
        this.#runEnded(slot, message);
        return;
      case 'log': {
        const run = message.runId === undefined ? undefined : this.#runs.get(message.runId);
        this.options.logger[message.level](
          { slot, stage: run?.stage ?? this.#loadedStage.get(slot), shardId: run?.shardId },
          message.message,
        );
        return;
      }
    }
  }

  shimGone(slot: number): void {
    // Before its hello was heard there is none: then the shim is gone because a swap wanted it to go.
    const stage = this.#loadedStage.get(slot);
    const error = new PodlineError('PDL_STAGE_DIED', `the shim of slot ${String(slot)}, which held stage ${stage ?? 'none'}, is gone`, {
      place: `slot ${String(slot)}`,
    });
    if (stage !== undefined) this.note('slot.lost', undefined, { slot, stage });
    this.forgetRuns((run) => run.slot === slot);
    this.dispatch({ type: 'slotLost', slot, error: error.toWire() });
  }

  // ---- effects out -----------------------------------------------------------------------------

  #carryOut(effect: LineEffect): void {
    switch (effect.type) {
      case 'lease':
        this.track(this.#work.lease(effect.max, effect.wait));
        return;
      case 'load':
        this.track(this.#work.load(effect.shardId, effect.lease));
        return;
      case 'swap':
        this.track(this.#swap(effect.slot, effect.stage, effect.step));
        return;
      case 'start':
        this.track(this.#start(effect));
        return;
      case 'cancelRun':
        if (effect.kill) this.#kill(effect.slot, effect.reason);
        else this.#shims?.send(effect.slot, { type: 'cancel', runId: effect.runId, reason: effect.reason });
        return;
      case 'stageDone':
        // Behind the hand-over that the same event may have brought about: the next stage is not to wait for a checkpoint.
        setImmediate(() => {
          checkpointNow(this, effect.shardId);
        });
        return;
      case 'release':
        this.track(this.#work.release(effect.shardId, effect.stream));
        return;
      case 'deliver':
        this.track(this.#work.deliver(effect.shardId));
        return;
      case 'complete':
        this.track(this.#work.complete(effect.shardId));
        return;
      case 'fail':
        this.track(this.#work.fail(effect.shardId, effect.error, effect.stage, effect.counts));
        return;
      case 'free':
        this.track(this.#work.free(effect.shardId));
        return;
      case 'wakeAt':
        this.#wakeAt(effect.atMs);
        return;
    }
  }

  async #swap(slot: number, stage: string, stepId: string): Promise<void> {
    this.#swapStartedMs.set(stepId, { stage, atMs: this.options.nowMs() });
    this.#loadedStage.delete(slot);
    try {
      await this.options.client.swap({ slot, stage, step: stepId });
    } catch (thrown) {
      this.#swapStartedMs.delete(stepId);
      this.dispatch({ type: 'swapFailed', slot, step: stepId, error: PodlineError.from(thrown, 'PDL_SWAP_FAILED').toWire() });
    }
  }

  async #start(effect: Extract<LineEffect, { type: 'start' }>): Promise<void> {
    const { slot, shardId, stage: stageName, runId, attempt } = effect;
    const resident = this.residents.get(shardId);
    const stage = this.#stageNamed(stageName);
    const lineage = resident?.lineages.get(stageName);
    const { scratch } = this.options;
    try {
      if (resident === undefined || stage === undefined || lineage === undefined) throw goneError(runId);
      if (this.#isSealed(shardId, stageName, lineage.digest)) {
        // The word of its end was lost, not its work.
        this.dispatch({ type: 'runCommitted', slot, runId });
        return;
      }
      await scratch.beginRun(shardId, stageName, { runId, epoch: resident.lease.epoch });
      // The shim may have gone and come back while the index was written.
      const now = this.#state.slots[slot];
      if (now?.phase !== 'running' || now.runId !== runId) return;
      const handoverMs = this.options.nowMs() - effect.readySinceMs;
      const sent =
        this.#shims?.send(slot, {
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
      this.options.logger.debug({ shardId, stage: stageName, slot, runId, attempt }, 'a run was started');
      this.note('stage.started', shardId, { stage: stageName, slot, attempt, handoverMs });
    } catch (thrown) {
      this.dispatch({ type: 'runFailed', slot, runId, error: PodlineError.from(thrown).toWire() });
    }
  }

  #runEnded(slot: number, ended: RunEnded): void {
    const run = this.#runs.get(ended.runId);
    this.#runs.delete(ended.runId);
    const resident = run === undefined ? undefined : this.residents.get(run.shardId);
    if (run === undefined || resident === undefined) {
      // A run of a shard that is gone: the slot is free again all the same.
      this.dispatch({ type: 'runFailed', slot, runId: ended.runId, error: goneError(ended.runId).toWire() });
      return;
    }
    resident.report.ended(run.stage, ended);
    const sealed = this.options.scratch.stream(run.shardId, run.stage);
    const wanted = resident.lineages.get(run.stage);
    if (ended.outcome === 'committed' && sealed?.sealed === true && sealed.lineage.digest === wanted?.digest) {
      resident.failures.delete(run.stage);
      resident.report.sealed(run.stage, sealed.blocks, sealed.rows);
      this.note('stage.completed', run.shardId, {
        stage: run.stage,
        rows: sealed.rows,
        blocks: sealed.blocks,
        workMs: ended.workMs,
        handoverMs: run.handoverMs + ended.startMs,
        bytes: ended.bytes,
      });
      this.dispatch({ type: 'runCommitted', slot, runId: ended.runId });
      return;
    }
    const error =
      ended.error ??
      new PodlineError('PDL_STAGE_FAILED', `stage ${run.stage} was ${ended.outcome} and its stream is not whole`).toWire();
    resident.failures.set(run.stage, error);
    if (ended.outcome !== 'cancelled') {
      this.options.logger.warn(
        { shardId: run.shardId, stage: run.stage, code: error.code, err: error.message },
        'a stage failed',
      );
      this.note('stage.failed', run.shardId, { stage: run.stage, code: error.code, message: error.message });
    }
    this.dispatch({ type: 'runFailed', slot, runId: ended.runId, error });
  }

  async #room(slot: number, runId: string, bytes: number): Promise<void> {
    const run = this.#runs.get(runId);
    const answer = run === undefined ? 'none' : await makeRoom(this, bytes);
    this.#shims?.send(slot, { type: 'roomAnswer', runId, answer });
  }

  /** When a stream is read next, as the heart sees it: 0 is now. */
  nextReadOf(shardId: string, stream: string): number {
    return nextReadOf(this.#state, shardId, stream);
  }

  /** What there is to see of the line. */
  view(): Omit<Heartbeat, 'events'> {
    const usage = this.options.scratch.usage();
    return {
      instance: this.options.instance,
      shards: [...this.#state.residents].flatMap(([shardId, resident]) =>
        resident.letGo
          ? []
          : [
              {
                shardId,
                epoch: resident.lease.epoch,
                phase: resident.phase,
                stagesDone: doneStages(resident.stages),
                running: [...this.#runs.values()]
                  .filter((run) => run.shardId === shardId)
                  .map(({ stage, slot, blocks, blocksTotal, rows }) => ({ stage, slot, blocks, blocksTotal, rows })),
              },
            ],
      ),
      slots: this.#state.slots.map((slot, index) => ({
        slot: index,
        phase: slot.phase,
        swaps: this.#swapsOf[index] ?? 0,
        ...(slot.phase === 'empty' ? {} : { stage: slot.stage }),
      })),
      scratch: {
        usedBytes: usage.usedBytes,
        sizeBytesMax: usage.sizeBytesMax,
        spilledBytes: usage.spilledBytes,
        reads: this.options.scratch.reads,
      },
    };
  }

  #swapDone(slot: number, stage: string, ms: number): void {
    this.#swapsOf[slot] = (this.#swapsOf[slot] ?? 0) + 1;
    // A swap is paid for by the shard that has been here longest: the plan made it for that one first.
    const first = this.residents.values().next();
    if (first.done !== true) first.value.report.swapped(stage, ms);
    this.note('slot.swapped', undefined, { slot, stage, ms });
  }

  /** A newer revision of the pipeline, told by the coordinator. */
  revise(pipeline: Pipeline): void {
    if (pipeline.revision <= this.#pipeline.revision) return;
    this.#pipeline = pipeline;
    this.#graph = buildGraph(pipeline.stages, pipeline.spec.result.stages);
    const known = new Map<string, KnownStream[]>();
    for (const [shardId, resident] of this.residents) {
      // What is on its way out ends under the revision that made it.
      const phase = this.#state.residents.get(shardId)?.phase;
      if (phase === 'delivering' || phase === 'ending') continue;
      resident.revise(pipeline);
      const valid = this.options.scratch
        .streams(shardId)
        .filter((stream) => stream.lineage.digest === resident.lineages.get(stream.stream)?.digest);
      known.set(
        shardId,
        valid.map((stream) => ({ stream: stream.stream, sealed: stream.sealed })),
      );
    }
    this.options.logger.info({ revision: pipeline.revision }, 'the pipeline has changed');
    this.dispatch({ type: 'revised', pipeline, known });
  }

  /** Ends the process of a slot that did not listen; its keeper (kubelet, local driver) starts it again and it says hello. */
  #kill(slot: number, reason: string): void {
    const pid = this.#pids.get(slot);
    this.options.logger.warn({ slot, pid, reason }, 'the process of a slot is ended');
    // The end of pid 1 in a shared process namespace would restart the whole pod.
    if (pid === undefined || pid <= 1) return;
    try {
      process.kill(pid, 'SIGKILL');
    } catch (thrown) {
      this.options.logger.warn({ slot, pid, err: String(thrown) }, 'could not end it; hung up on it instead');
      this.#shims?.hangUp(slot);
    }
  }

  note(type: EventType, shardId: string | undefined, data: Record<string, unknown>): void {
    this.#heartbeats.note(type, shardId, data);
  }

  /** After each heartbeat, heard or not: time has passed. */
  beaten(): void {
    this.dispatch({ type: 'tick' });
    for (const shardId of this.residents.keys()) checkpointNow(this, shardId);
  }

  // ---- small things ----------------------------------------------------------------------------

  #stageNamed(name: string): ResolvedStage | undefined {
    return this.#pipeline.stages.find((stage) => stage.name === name);
  }

  forgetRuns(which: (run: RunOnSlot) => boolean): void {
    for (const run of [...this.#runs.values()]) if (which(run)) this.#runs.delete(run.runId);
  }

  /** Leases that came anew for shards that are here: their residents go on under the newer epoch. */
  async renewed(): Promise<void> {
    for (const [shardId, state] of this.#state.residents) {
      const resident = this.residents.get(shardId);
      if (resident === undefined || state.phase === 'ending' || state.lease.epoch <= resident.lease.epoch) continue;
      resident.lease = state.lease;
      await this.options.scratch.putShard({ shardId, epoch: state.lease.epoch, revision: resident.pipeline.revision });
    }
  }

  #isSealed(shardId: string, stream: string, digest: string): boolean {
    const record = this.options.scratch.stream(shardId, stream);
    return record?.sealed === true && record.lineage.digest === digest;
  }

  isOurs(resident: Resident): boolean {
    return this.residents.get(resident.lease.shardId) === resident && !this.#ending;
  }

  #wakeAt(atMs: number): void {
    const nowMs = this.options.nowMs();
    if (atMs >= this.#wakeAtMs && this.#wakeAtMs > nowMs) return;
    clearTimeout(this.#wakeTimer);
    this.#wakeAtMs = atMs;
    this.#wakeTimer = setTimeout(
      () => {
        this.#wakeAtMs = Number.POSITIVE_INFINITY;
        this.dispatch({ type: 'tick' });
      },
      Math.max(0, atMs - nowMs),
    );
  }

  /** Background work is awaited when the line ends; its own errors are its own to handle, what escapes is logged. */
  track(work: Promise<unknown>): void {
    const tracked = work
      .catch((thrown: unknown) => {
        this.options.logger.error({ err: thrown instanceof Error ? thrown.stack : String(thrown) }, 'a fault in the agent');
      })
      .finally(() => this.#background.delete(tracked));
    this.#background.add(tracked);
  }
}

const idOf = (lease: Lease): { shardId: string; epoch: number } => ({ shardId: lease.shardId, epoch: lease.epoch });

const goneError = (runId: string): PodlineError =>
  new PodlineError('PDL_LEASE_LOST', `run ${runId} is of a shard that has left the line`);

const kindOf = (form: NonNullable<ResolvedStage['declares']>['form']): 'table' | 'bytes' | 'files' =>
  form === 'bytes' || form === 'files' ? form : 'table';

function doneStages(stages: ReadonlyMap<string, { phase: string }>): string[] {
  return [...stages].filter(([, stage]) => stage.phase === 'done').map(([name]) => name);
}
