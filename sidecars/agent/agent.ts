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
import type { EventType } from '../../runtime/contracts/events.js';
import type { Heartbeat, ShardAtEpoch } from '../../runtime/contracts/line-api.js';
import type { Pipeline, ResolvedStage } from '../../runtime/contracts/manifest.js';
import type { Hello, ShimToAgent } from '../../runtime/contracts/shim-protocol.js';
import type { Tracing } from '../../runtime/contracts/telemetry.js';
import type { Checkpoints } from '../../runtime/checkpoints/types.js';
import type { LineClient } from '../../runtime/api/line-client.js';
import { buildGraph, topologicalOrder, type Graph } from '../../runtime/line/graph.js';
import { whyWaiting } from '../../runtime/line/explain.js';
import { initialLine, step } from '../../runtime/line/line.js';
import { nextReadOf } from '../../runtime/line/memory.js';
import { outputsAtOnce } from '../../runtime/line/outputs-at-once.js';
import type { KnownStream, LineEffect, LineEvent, LineState, SlotState } from '../../runtime/line/types.js';
import type { Logger } from '../../runtime/platform/logger.js';
import type { Scratch, ScratchOptions } from '../../runtime/scratch/types.js';
import { checkpointNow, finalCheckpoint } from './checkpointing.js';
import { ColumnWork } from './column-work.js';
import { Heartbeats } from './heartbeats.js';
import { lineConfig, standingStreams } from './planning.js';
import type { Resident } from './resident.js';
import { RunWork } from './run-work.js';
import { ShardWork } from './shard-work.js';
import { SlotWork } from './slot-work.js';
import type { Shims } from './shims.js';

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
  tracing: Tracing;
  /** Monotonic, ms. */
  nowMs: () => number;
}

export class Agent {
  readonly residents = new Map<string, Resident>();
  readonly columns = new ColumnWork(this);
  readonly #shards = new ShardWork(this);
  readonly #slots = new SlotWork(this);
  readonly runs = new RunWork(this);
  readonly #heartbeats = new Heartbeats(this, () => this.#slots.pids);
  readonly #queue: LineEvent[] = [];
  readonly #background = new Set<Promise<unknown>>();
  readonly #postponed: (() => void)[] = [];
  readonly #state: LineState;
  #pipeline: Pipeline;
  #graph: Graph<ResolvedStage>;
  #stepping = false;
  #ending = false;
  #wakeTimer: NodeJS.Timeout | undefined;
  #wakeAtMs = Number.POSITIVE_INFINITY;
  /** Set by `start`. */
  shims: Shims | undefined;

  constructor(readonly options: AgentOptions) {
    this.#pipeline = options.pipeline;
    this.#graph = buildGraph(options.pipeline.stages, options.pipeline.spec.result.stages);
    this.#state = initialLine(lineConfig(options.pipeline, options.slots, options.cores), options.pipeline, options.instance);
  }

  get pipeline(): Pipeline {
    return this.#pipeline;
  }

  /** Of how many stages the output lies in the scratch at once. */
  get outputsAtOnce(): number {
    const { stages, spec } = this.#pipeline;
    const results = spec.checkpoints.keepCompleted ? stages.map((stage) => stage.name) : this.#graph.results;
    return outputsAtOnce(topologicalOrder(stages), results);
  }

  start(shims: Shims): void {
    this.shims = shims;
    this.dispatch({ type: 'tick' });
    this.#heartbeats.start();
  }

  /** Gives everything back: what is committed is checkpointed, the leases go to whoever asks next. May be called twice. */
  async end(): Promise<void> {
    if (this.#ending) return;
    this.#ending = true;
    clearTimeout(this.#wakeTimer);
    this.#heartbeats.stop();
    this.#shards.stop();
    for (const run of this.runs.all()) this.shims?.send(run.slot, { type: 'cancel', runId: run.runId, reason: 'the line ends' });
    const queued = [...this.#state.residents.values()].filter(({ lease, letGo }) => !letGo && !this.residents.has(lease.shardId));
    await Promise.all([
      ...queued.map(({ lease }) => this.#shards.giveBack(lease)),
      ...[...this.residents.values()].map(async (resident) => {
        resident.gone.abort();
        if (resident.completed) return;
        await finalCheckpoint(this, resident, 'the line ends', true);
        await this.#shards.giveBack(resident.lease);
      }),
    ]);
    await Promise.allSettled(this.#background);
    await this.#heartbeats.sayRest();
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
    this.#slots.hello(slot, hello);
  }

  shimGone(slot: number): void {
    this.#slots.gone(slot);
  }

  shimSaid(slot: number, message: Exclude<ShimToAgent, Hello>): void {
    switch (message.type) {
      case 'ready':
        this.#slots.ready(slot, message.step);
        return;
      case 'unusable':
        this.dispatch({ type: 'slotUnusable', slot, step: message.step, error: message.error });
        return;
      case 'progress':
        this.runs.progressed(message);
        return;
      case 'room':
        this.track(this.runs.room(slot, message.runId, message.bytes));
        return;
      case 'ended':
        if (this.runs.prepared.heardEnd(message)) return;
        this.#slots.busy(slot, false);
        this.runs.ended(slot, message);
        return;
      case 'exited':
        // Heard by the thread that works for a static shim; no other says it.
        return;
      case 'log':
        this.runs.said(slot, message, this.#slots.stageOf(slot));
        return;
    }
  }

  // ---- effects out -----------------------------------------------------------------------------

  #carryOut(effect: LineEffect): void {
    switch (effect.type) {
      case 'lease':
        this.track(this.#shards.lease(effect.max, effect.wait));
        return;
      case 'load':
        this.track(this.#shards.load(effect.shardId, effect.lease));
        return;
      case 'swap':
        this.track(this.#slots.swap(effect.slot, effect.stage, effect.step));
        return;
      case 'start':
        this.#slots.busy(effect.slot, true);
        this.track(this.runs.start(effect));
        return;
      case 'prepare':
        this.track(this.runs.prepared.prepare(effect));
        return;
      case 'withdraw':
        this.runs.prepared.withdraw(effect.runId);
        return;
      case 'cancelRun':
        if (effect.kill) this.kill(effect.slot, effect.reason);
        else this.shims?.send(effect.slot, { type: 'cancel', runId: effect.runId, reason: effect.reason });
        return;
      case 'stageDone':
        this.#behind(() => {
          checkpointNow(this, effect.shardId);
          this.track(this.columns.look(effect.shardId));
        });
        return;
      case 'release':
        this.#behind(() => {
          this.track(this.columns.release(effect.shardId, effect.stream));
        });
        return;
      case 'deliver':
        this.track(this.#shards.deliver(effect.shardId));
        return;
      case 'complete':
        this.track(this.#shards.complete(effect.shardId, effect.lease?.max ?? 0));
        return;
      case 'fail':
        this.track(this.#shards.fail(effect.shardId, effect.error, effect.stage, effect.counts));
        return;
      case 'free':
        this.#catchUp();
        this.track(this.#shards.free(effect.shardId));
        return;
      case 'wakeAt':
        this.#wakeAt(effect.atMs);
        return;
    }
  }

  /** Behind the hand-over that the same event may have brought about: the next stage is not to wait for files and checkpoints. */
  #behind(work: () => void): void {
    if (this.#postponed.push(work) > 1) return;
    setImmediate(() => {
      this.#catchUp();
    });
  }

  #catchUp(): void {
    for (const work of this.#postponed.splice(0)) work();
  }

  /** When a stream is read next, as the heart sees it: 0 is now. */
  nextReadOf(shardId: string, stream: string): number {
    return nextReadOf(this.#state, shardId, stream);
  }

  /** What there is to see of the line. */
  view(): Omit<Heartbeat, 'events'> {
    const usage = this.options.scratch.usage();
    const waiting = whyWaiting(this.#state, this.options.nowMs());
    return {
      ...(waiting === undefined ? {} : { waiting }),
      instance: this.options.instance,
      revision: this.#pipeline.revision,
      shards: [...this.#state.residents].flatMap(([shardId, resident]) =>
        resident.letGo
          ? []
          : [
              {
                shardId,
                epoch: resident.lease.epoch,
                phase: resident.phase,
                stagesDone: doneStages(resident.stages),
                running: this.runs
                  .all()
                  .filter((run) => run.shardId === shardId)
                  .map(({ stage, slot, blocks, blocksTotal, rows }) => ({ stage, slot, blocks, blocksTotal, rows })),
                checkpoints: this.residents.get(shardId)?.report.checkpointWhys() ?? [],
              },
            ],
      ),
      slots: this.#state.slots.map((slot, index) => ({
        slot: index,
        phase: slot.phase,
        swaps: this.#slots.swapsOf(index),
        busyMs: Math.round(this.#slots.busyMsOf(index)),
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

  /** A newer revision of the pipeline, told by the coordinator. */
  revise(pipeline: Pipeline): void {
    if (pipeline.revision <= this.#pipeline.revision) return;
    // What was released is gone before anyone looks what is there.
    this.#catchUp();
    this.#pipeline = pipeline;
    this.#graph = buildGraph(pipeline.stages, pipeline.spec.result.stages);
    const known = new Map<string, KnownStream[]>();
    const incomplete = new Set<string>();
    for (const [shardId, resident] of this.residents) {
      // What is on its way out ends under the revision that made it.
      const phase = this.#state.residents.get(shardId)?.phase;
      if (phase === 'delivering' || phase === 'ending') continue;
      resident.revise(pipeline);
      const { streams, isComplete } = standingStreams(this.options.scratch, resident);
      known.set(shardId, streams);
      if (!isComplete) incomplete.add(shardId);
    }
    this.options.logger.info({ revision: pipeline.revision }, 'the pipeline has changed');
    this.dispatch({ type: 'revised', pipeline, known, incomplete });
    this.runs.relayAll();
  }

  note(type: EventType, shardId: string | undefined, data: Record<string, unknown>): void {
    this.#heartbeats.note(type, shardId, data);
  }

  /** Tells what waits for the next heartbeat. */
  sayRest(): Promise<void> {
    return this.#heartbeats.sayRest();
  }

  /** After each heartbeat, heard or not: time has passed. */
  beaten(): void {
    this.dispatch({ type: 'tick' });
    for (const shardId of this.residents.keys()) {
      checkpointNow(this, shardId);
      this.track(this.columns.look(shardId));
    }
  }

  // ---- small things ----------------------------------------------------------------------------

  stageNamed(name: string): ResolvedStage | undefined {
    return this.#pipeline.stages.find((stage) => stage.name === name);
  }

  slotState(slot: number): SlotState | undefined {
    return this.#state.slots[slot];
  }

  /** Which stages of a shard are done; undefined while it has none to run. */
  doneOf(shardId: string): ((stage: string) => boolean) | undefined {
    const resident = this.#state.residents.get(shardId);
    return resident?.phase === 'stages' ? (stage) => resident.stages.get(stage)?.phase === 'done' : undefined;
  }

  kill(slot: number, reason: string): void {
    this.#slots.kill(slot, reason);
  }

  /** The leases that have arrived and are not over, as far as this line knows. */
  get held(): ShardAtEpoch[] {
    return [...this.#state.residents.values()]
      .flatMap(({ lease, letGo, next }) => [...(letGo ? [] : [lease]), ...(next === undefined ? [] : [next.lease])])
      .map(({ shardId, epoch }) => ({ shardId, epoch }));
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

function doneStages(stages: ReadonlyMap<string, { phase: string }>): string[] {
  return [...stages].filter(([, stage]) => stage.phase === 'done').map(([name]) => name);
}
