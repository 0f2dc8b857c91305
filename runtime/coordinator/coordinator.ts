/**
 * The coordinator: accepts shards, keeps the journal, leases shards to lines, orders swaps from the driver.
 *
 * It composes: what is durable is the journal's, who is there and whose lease is over is the line desk's, what starts
 * and swaps is the driver's. Every method is what the API offers under the same name.
 *
 * Invariants
 *  1. What `submit` has accepted survives everything but the loss of the disk.
 *  2. It is the only writer of its journal while it leads: the journal refuses who wrote under an older term. One that does not lead
 *     answers questions, and throws PDL_NOT_LEADER for the rest.
 *  3. Time goes on from where the journal's clock stood; while no coordinator runs, no time limit runs.
 *  4. Who starts something stops it: lines that were started through it end with `close`; the journal and the driver are the caller's.
 */
import type { Wanted } from '../contracts/capacity.js';
import type { ConnectorView } from '../contracts/connectors.js';
import type { LineDriver } from '../contracts/driver.js';
import { PodlineError } from '../contracts/errors.js';
import type { PodlineEvent } from '../contracts/events.js';
import { limits as defaultLimits } from '../contracts/limits.js';
import type { Complete, Fail, Heartbeat, LineHello, ShardAtEpoch, SwapRequest } from '../contracts/line-api.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { Shard, Submission, SubmitAnswer } from '../contracts/shard.js';
import { noMetrics, type CoordinatorMetrics } from '../contracts/telemetry.js';
import type {
  Counts,
  EventQuery,
  Explanation,
  LineView,
  ListRequest,
  PipelineView,
  RemovedPipeline,
  ShardPage,
} from '../contracts/views.js';
import type { LeaderView } from '../contracts/leadership.js';
import type { Changed, Ending, Journal, Moment } from '../journal/journal.js';
import { systemClock, type Clock } from '../platform/clock.js';
import { silentLogger, type Logger } from '../platform/logger.js';
import { heedDriver } from './driver-news.js';
import { EventStreams } from './event-stream.js';
import { advanceAll } from './advance-all.js';
import { explain } from './explain.js';
import { openDesks } from './desks.js';
import type { FlowDesk } from './flow-desk.js';
import { Leadership } from './leadership.js';
import type { LeaseAnswer, LeaseRequest, NextLeases } from './grants.js';
import type { HeartbeatAnswer, LineDesk, LineWelcome } from './line-desk.js';
import { gaugesOf } from './gauges.js';
import type { CoordinatorLimits, CoordinatorOptions } from './options.js';
import type { PipelineDesk } from './pipeline-desk.js';
import type { Pipelines } from './pipelines.js';
import { requireStage } from './rules.js';
import { listShards } from './shard-list.js';
import type { SubmissionDesk, SubmitOptions } from './submission-desk.js';
import { Timekeeper } from './timekeeper.js';

export type { LeaseAnswer, LeaseRequest } from './grants.js';
export type { CoordinatorLimits, CoordinatorOptions } from './options.js';

/** Leads, unless it is a standby: reads what the journal says is running, and goes on from there. */
export async function createCoordinator(options: CoordinatorOptions): Promise<Coordinator> {
  const coordinator = new Coordinator(options);
  if (options.standby !== true) await coordinator.lead();
  return coordinator;
}

export class Coordinator {
  readonly limits: CoordinatorLimits;
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: CoordinatorMetrics;
  readonly #driver: LineDriver | undefined;
  readonly #desk: LineDesk;
  readonly #flow: FlowDesk;
  readonly #submissions: SubmissionDesk;
  readonly #pipelineDesk: PipelineDesk;
  #connectors: () => ConnectorView[] = () => [];
  readonly #streams: EventStreams;
  readonly #leadership = new Leadership();
  readonly #pipelines: Pipelines;
  readonly #unsubscribe: (() => void)[] = [];
  /** Journal time minus clock time. */
  #offsetMs = 0;
  readonly #timekeeper: Timekeeper;
  #startedLines = false;
  #closed: Promise<void> | undefined;

  /** Use `createCoordinator`. */
  constructor(options: CoordinatorOptions) {
    this.limits = { ...defaultLimits, ...options.limits };
    this.#journal = options.journal;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#metrics = options.metrics ?? noMetrics;
    this.#driver = options.driver;
    this.#streams = new EventStreams(this.#journal, this.limits.eventStreamsMax);
    this.#timekeeper = new Timekeeper({
      clock: this.#clock,
      logger: this.#logger,
      stallMs: this.limits.leaseTtlMs / 2,
      againMs: this.limits.heartbeatMs,
      onDue: (stalled) => this.#doWhatIsDue(stalled),
    });
    const desks = openDesks({
      ...options,
      limits: this.limits,
      clock: this.#clock,
      logger: this.#logger,
      metrics: this.#metrics,
      isLeading: () => this.leader.leads,
      now: () => this.#now(),
      arm: (atMs) => {
        this.#timekeeper.arm(atMs);
      },
    });
    this.#pipelines = desks.pipelines;
    this.#desk = desks.lineDesk;
    this.#flow = desks.flow;
    this.#pipelineDesk = desks.pipelineDesk;
    this.#submissions = desks.submissions;
    this.#unsubscribe.push(
      this.#journal.subscribe((events) => {
        // Every coordinator hears of every event: the leader counts them.
        if (this.leader.leads) for (const event of events) this.#metrics.event(event);
      }),
    );
    if (this.#driver !== undefined)
      this.#unsubscribe.push(this.#driver.subscribe((event) => void heedDriver(this.#desk, this.#flow, this.#logger, event)));
    this.#metrics.observe(() => gaugesOf(this.leader.leads, this.#journal, desks, this.#connectors));
  }

  // --- leadership -----------------------------------------------------------------------------

  /** Whether it leads, and where the leader is. */
  get leader(): LeaderView {
    return this.#leadership.view;
  }

  /** Takes the journal's next term: no other coordinator writes from here on. Leases go on, their lines are expected back. `address`: for who asks a standby. */
  async lead(address?: string): Promise<void> {
    const term = await this.#journal.takeTerm(address);
    this.#offsetMs = (await this.#journal.clockMs()) - this.#clock.nowMs();
    await this.#pipelines.refresh();
    this.#desk.forgetAll();
    await this.#desk.recover();
    this.#leadership.took(term, address);
    await this.#pipelineDesk.goOn();
    this.#timekeeper.arm(0);
  }

  /** Another one leads, at this address if that is known: from here on questions are answered, and nothing else. */
  follow(address: string | undefined): void {
    const { leads } = this.leader;
    this.#leadership.follows(address);
    if (!leads) return;
    this.#flow.leave();
    this.#desk.waiters.close();
    this.#desk.forgetAll();
  }

  // --- pipelines ------------------------------------------------------------------------------

  /** Takes a resolved pipeline in; its revision counts up if it differs from the one that is there. */
  async applyPipeline(pipeline: Pipeline): Promise<PipelineView & Changed> {
    const applied = await this.#pipelineDesk.apply(pipeline);
    this.#timekeeper.arm(0);
    return applied;
  }

  async pipelines(): Promise<PipelineView[]> {
    return this.#pipelineDesk.views();
  }

  async pipeline(name: string): Promise<PipelineView> {
    return this.#pipelineDesk.view(name);
  }

  /** With its shards and lines. Throws PDL_PIPELINE_BUSY while shards of it wait or run, unless they are to be cancelled. */
  async deletePipeline(name: string, options: { cancel?: boolean | undefined } = {}): Promise<RemovedPipeline> {
    this.#leadership.must();
    return this.#pipelineDesk.remove(name, options.cancel ?? false);
  }

  /** Nothing of it is leased until it is resumed; what runs goes on to its end. */
  async pause(name: string): Promise<Changed> {
    return this.#pipelineDesk.setPaused(name, true);
  }

  async resume(name: string): Promise<Changed> {
    return this.#pipelineDesk.setPaused(name, false);
  }

  /** How many shards are in which state; its cost does not grow with their number. */
  async progress(name: string): Promise<Counts> {
    await this.#pipelines.get(name);
    return this.#journal.counts(name);
  }

  // --- shards ---------------------------------------------------------------------------------

  /** One answer per submission, in order; those that are accepted are durable. At most `limits.submitBatchMax` at once. */
  async submit(name: string, submissions: readonly Submission[], options?: SubmitOptions): Promise<SubmitAnswer[]> {
    return this.#submissions.submit(await this.#pipelines.get(name), submissions, options);
  }

  /** Throws PDL_SHARD_UNKNOWN. */
  async get(shardId: string): Promise<Shard> {
    const shard = await this.#journal.shard(shardId);
    if (shard === undefined) throw new PodlineError('PDL_SHARD_UNKNOWN', `there is no shard ${shardId}`);
    return shard;
  }

  /** Throws PDL_SHARD_UNKNOWN. */
  async getByKey(name: string, key: string): Promise<Shard> {
    await this.#pipelines.get(name);
    const shard = await this.#journal.shardByKey(name, key);
    if (shard === undefined) throw new PodlineError('PDL_SHARD_UNKNOWN', `pipeline ${name} has no shard with the key ${key}`);
    return shard;
  }

  /** In the order of submission, without reports, a page at a time. */
  async list(name: string, request: ListRequest = {}): Promise<ShardPage> {
    await this.#pipelines.get(name);
    return listShards(this.#journal, name, request, this.limits.listPageMax);
  }

  /** Pending or running → cancelled. Throws PDL_SHARD_STATE. */
  async cancel(shardId: string): Promise<Shard> {
    return this.#change(shardId, (now) => this.#journal.cancel(shardId, now));
  }

  /** Failed or cancelled → pending. Throws PDL_SHARD_STATE. */
  async retry(shardId: string): Promise<Shard> {
    return this.#change(shardId, (now) => this.#journal.retry(shardId, now));
  }

  /** Back into the queue, to run `stage` and what follows it again. Throws PDL_SHARD_STATE while it runs. */
  async resumeFrom(shardId: string, stage: string): Promise<Shard> {
    const { pipeline } = await this.#pipelines.get((await this.get(shardId)).pipeline);
    requireStage(pipeline, stage);
    return this.#change(shardId, (now) => this.#journal.resume(shardId, stage, now));
  }

  /** Why the shard is where it is. */
  async explain(shardId: string): Promise<Explanation> {
    const shard = await this.get(shardId);
    const { pipeline } = shard;
    const [{ paused }, { pending }] = [await this.#pipelines.get(pipeline), await this.#journal.counts(pipeline)];
    const [lines, flow] = [this.#lead().viewsOf(pipeline), this.#flow.view(pipeline)];
    return explain(shard, { paused, waiting: pending, lines, flow });
  }

  /** From `after` on, or from now; ends with the signal. */
  events(query: EventQuery = {}): AsyncGenerator<PodlineEvent, void, undefined> {
    return this.#streams.read(query);
  }

  async lastEventId(): Promise<number> {
    return this.#journal.lastEventId();
  }

  // --- lines ----------------------------------------------------------------------------------

  async lines(): Promise<LineView[]> {
    return this.#lead().views();
  }

  /** Throws PDL_LINE_UNKNOWN. */
  async line(name: string): Promise<LineView> {
    return this.#lead().view(name);
  }

  /** It finishes or checkpoints what it has and takes nothing new. */
  async drainLine(name: string): Promise<LineView> {
    this.#lead().drain(name);
    return this.#lead().view(name);
  }

  /**
   * Holds so many lines, as far as the quotas allow; without a number, as many as the manifest’s `scaling` asks for. They end with
   * `stopLines` or `close`. Throws PDL_QUOTA where not even one may be there.
   */
  async startLines(name: string, lines?: number | Wanted): ReturnType<FlowDesk['manage']> {
    const { pipeline } = await this.#pipelines.get(name);
    this.#startedLines = true;
    return this.#flow.manage(pipeline, lines);
  }

  /** Lines of the pipeline stay as they are from here on. */
  leaveLines(name: string): void {
    this.#flow.leave(name);
  }

  /** Ends all lines; nobody starts them again. Idempotent. */
  async stopLines(): Promise<void> {
    await this.#flow.close();
    await this.#driver?.stop();
  }

  /** The line will not come back: its shards may go to others at once. */
  async lineGone(name: string, reason: string): Promise<void> {
    await this.#desk.gone(name, reason);
  }

  /** After a restart: shards that ran on lines other than these go back to the queue at once, instead of when their leases end. */
  async releaseAbsent(lines: readonly string[]): Promise<void> {
    await this.#desk.releaseAbsent(lines);
  }

  // --- the line protocol ----------------------------------------------------------------------

  async lineHello(line: string, hello: LineHello): Promise<LineWelcome> {
    return this.#lead().hello(line, hello);
  }

  async lease(line: string, request: LeaseRequest, signal?: AbortSignal): Promise<LeaseAnswer> {
    return this.#lead().lease(line, request, signal);
  }

  /** Leases that were granted but could not be handed over. */
  async takeBack(line: string, leases: readonly ShardAtEpoch[]): Promise<void> {
    return this.#lead().takeBack(line, leases);
  }

  async heartbeat(line: string, heartbeat: Heartbeat): Promise<HeartbeatAnswer> {
    return this.#lead().heartbeat(line, heartbeat);
  }

  async complete(line: string, complete: Complete, next?: NextLeases): Promise<LeaseAnswer | undefined> {
    return this.#lead().complete(line, complete, next);
  }

  async fail(line: string, fail: Fail): Promise<void> {
    return this.#lead().fail(line, fail);
  }

  async requestSwap(line: string, swap: SwapRequest): Promise<void> {
    return this.#lead().swap(line, swap);
  }

  #lead(): LineDesk {
    this.#leadership.must();
    return this.#desk;
  }

  /** Whoever opens connectors to it tells how they are to be looked at. */
  watchConnectors(views: () => ConnectorView[]): void {
    this.#connectors = views;
  }

  /** How the connectors to brokers and folders are doing. They are the leader's. */
  async connectors(): Promise<ConnectorView[]> {
    this.#leadership.must();
    return this.#connectors();
  }

  // --- its own life ---------------------------------------------------------------------------

  stateHash(): Promise<string> {
    return this.#journal.stateHash();
  }

  /** Ends the lines that it started, answers who waits, and lets go. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      await (this.#startedLines ? this.stopLines() : this.#flow.close());
      await this.#pipelineDesk.close();
      this.#desk.waiters.close();
      this.#streams.close();
      for (const unsubscribe of this.#unsubscribe) unsubscribe();
      await this.#timekeeper.close();
    })();
    return this.#closed;
  }

  /** Of a write: throws PDL_NOT_LEADER where none may be made. */
  #now(): Moment {
    this.#leadership.must();
    return { ms: this.#clock.nowMs() + this.#offsetMs, at: this.#clock.wall() };
  }

  async #change(shardId: string, transition: (now: Moment) => Promise<Ending>): Promise<Shard> {
    const { pipeline } = await transition(this.#now());
    this.#desk.forget(shardId);
    this.#timekeeper.arm(0);
    void this.#desk.waiters.wake(pipeline);
    return this.get(shardId);
  }

  /** Leases, back-offs and time limits that are over; answers when something is due next, by the clock. */
  async #doWhatIsDue(stalled: boolean): Promise<number | undefined> {
    if (!this.leader.leads) return undefined;
    const leasesMs = await this.#desk.tick(this.#clock.nowMs(), stalled);
    const { stopped, woken, nextMs } = await advanceAll(this.#journal, () => this.#now());
    for (const shardId of stopped) this.#desk.forget(shardId);
    for (const pipeline of woken) void this.#desk.waiters.wake(pipeline);
    const due = [leasesMs, nextMs === undefined ? undefined : nextMs - this.#offsetMs].filter((ms) => ms !== undefined);
    return due.length === 0 ? undefined : Math.min(...due);
  }
}
