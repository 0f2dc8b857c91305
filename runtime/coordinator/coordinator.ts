/**
 * The coordinator: accepts shards, keeps the journal, leases shards to lines, orders swaps from the driver.
 *
 * It composes: what is durable is the journal's, who is there and whose lease is over is the line desk's, what starts
 * and swaps is the driver's. Every method is what the API offers under the same name.
 *
 * Invariants
 *  1. What `submit` has accepted survives everything but the loss of the disk.
 *  2. It is the only writer of its journal: the lock of the work directory, or of the leader, sees to that.
 *  3. Time goes on from where the journal's clock stood; while no coordinator runs, no time limit runs.
 *  4. Who starts something stops it: lines that were started through it end with `close`; the journal and the driver are the caller's.
 */
import type { Allowed } from '../contracts/access.js';
import type { DriverEvent, LineDriver } from '../contracts/driver.js';
import { PodlineError } from '../contracts/errors.js';
import type { PodlineEvent } from '../contracts/events.js';
import { limits as defaultLimits } from '../contracts/limits.js';
import type { Complete, Fail, Heartbeat, LineHello, ShardAtEpoch, SwapRequest } from '../contracts/line-api.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { Shard, Submission, SubmitAnswer } from '../contracts/shard.js';
import { noMetrics, type CoordinatorMetrics } from '../contracts/telemetry.js';
import type { Counts, EventQuery, Explanation, LineView, ListRequest, PipelineView, ShardPage } from '../contracts/views.js';
import type { Changed, Ending, Journal, Moment, PipelineRecord } from '../journal/journal.js';
import { nearest } from '../config/nearest.js';
import { systemClock, type Clock } from '../platform/clock.js';
import { silentLogger, type Logger } from '../platform/logger.js';
import { EventStreams } from './event-stream.js';
import { explain } from './explain.js';
import { LineDesk, type HeartbeatAnswer, type LeaseAnswer, type LeaseRequest, type LineWelcome } from './line-desk.js';
import { gaugesOf } from './gauges.js';
import { requireStage, rulesOf } from './rules.js';
import { defaultGroup } from '../line/groups.js';
import { listShards } from './shard-list.js';
import { answerOf, sortSubmissions, withinAllowed } from './submissions.js';
import { Timekeeper } from './timekeeper.js';

export type { LeaseAnswer, LeaseRequest } from './line-desk.js';
export type CoordinatorLimits = { [name in keyof typeof defaultLimits]: number };

export interface CoordinatorOptions {
  journal: Journal;
  /** Without one, lines bring themselves up and swaps are refused. */
  driver?: LineDriver | undefined;
  clock?: Clock | undefined;
  logger?: Logger | undefined;
  metrics?: CoordinatorMetrics | undefined;
  limits?: Partial<CoordinatorLimits> | undefined;
  /** Where sources and results of shards may lie; everywhere without it. */
  allowed?: Allowed | undefined;
}

/** Timers of the journal that one transition carries out. */
const advanceMax = 1_000;

/** Reads what the journal says is running, and goes on from there. */
export async function createCoordinator(options: CoordinatorOptions): Promise<Coordinator> {
  const coordinator = new Coordinator(options, await options.journal.clockMs());
  await coordinator.recover();
  return coordinator;
}

export class Coordinator {
  readonly limits: CoordinatorLimits;
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: CoordinatorMetrics;
  readonly #driver: LineDriver | undefined;
  readonly #allowed: Allowed | undefined;
  readonly #desk: LineDesk;
  readonly #streams: EventStreams;
  readonly #records = new Map<string, PipelineRecord>();
  readonly #unsubscribe: (() => void)[] = [];
  /** Journal time minus clock time. */
  readonly #offsetMs: number;
  readonly #timekeeper: Timekeeper;
  #startedLines = false;
  #closed: Promise<void> | undefined;

  /** Use `createCoordinator`. */
  constructor(options: CoordinatorOptions, journalMs: number) {
    this.limits = { ...defaultLimits, ...options.limits };
    this.#journal = options.journal;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#metrics = options.metrics ?? noMetrics;
    this.#driver = options.driver;
    this.#allowed = options.allowed;
    this.#offsetMs = journalMs - this.#clock.nowMs();
    this.#streams = new EventStreams(this.#journal, this.limits.eventStreamsMax);
    this.#timekeeper = new Timekeeper({
      clock: this.#clock,
      logger: this.#logger,
      stallMs: this.limits.leaseTtlMs / 2,
      againMs: this.limits.heartbeatMs,
      onDue: (stalled) => this.#doWhatIsDue(stalled),
    });
    this.#desk = new LineDesk({
      journal: this.#journal,
      clock: this.#clock,
      driver: this.#driver,
      logger: this.#logger,
      metrics: this.#metrics,
      bounds: this.limits,
      allowed: options.allowed,
      now: () => this.#now(),
      pipeline: (name) => this.#record(name),
      arm: (atMs) => {
        this.#timekeeper.arm(atMs);
      },
    });
    this.#unsubscribe.push(
      this.#journal.subscribe((events) => {
        for (const event of events) this.#metrics.event(event);
      }),
    );
    if (this.#driver !== undefined) this.#unsubscribe.push(this.#driver.subscribe((event) => void this.#heedDriver(event)));
    this.#metrics.observe(() => gaugesOf([...this.#records.keys()], this.#journal, this.#desk));
  }

  async recover(): Promise<void> {
    for (const record of await this.#journal.pipelines()) this.#records.set(record.pipeline.name, record);
    await this.#desk.recover();
    this.#timekeeper.arm(0);
  }

  // --- pipelines ------------------------------------------------------------------------------

  /** Takes a resolved pipeline in; its revision counts up if it differs from the one that is there. */
  async applyPipeline(pipeline: Pipeline): Promise<PipelineView & Changed> {
    const record = await this.#journal.applyPipeline(pipeline, rulesOf(pipeline, this.limits), this.#now());
    this.#records.set(pipeline.name, record);
    this.#timekeeper.arm(0);
    return { ...(await this.#pipelineView(record, true)), changed: record.changed };
  }

  async pipelines(): Promise<PipelineView[]> {
    return Promise.all([...this.#records.values()].map((record) => this.#pipelineView(record, false)));
  }

  async pipeline(name: string): Promise<PipelineView> {
    return this.#pipelineView(await this.#record(name), true);
  }

  /** Nothing of it is leased until it is resumed; what runs goes on to its end. */
  async pause(name: string): Promise<Changed> {
    return this.#setPaused(name, true);
  }

  async resume(name: string): Promise<Changed> {
    return this.#setPaused(name, false);
  }

  /** How many shards are in which state; its cost does not grow with their number. */
  async progress(name: string): Promise<Counts> {
    await this.#record(name);
    return this.#journal.counts(name);
  }

  // --- shards ---------------------------------------------------------------------------------

  /** One answer per submission, in order; those that are accepted are durable. At most `limits.submitBatchMax` at once. */
  async submit(name: string, submissions: readonly Submission[]): Promise<SubmitAnswer[]> {
    const { pipeline } = await this.#record(name);
    if (submissions.length > this.limits.submitBatchMax) {
      throw new PodlineError(
        'PDL_REQUEST_INVALID',
        `${String(submissions.length)} submissions at once; at most ${String(this.limits.submitBatchMax)}`,
        { hint: 'Send them as a stream of NDJSON.' },
      );
    }
    const sorted = sortSubmissions(pipeline, submissions, this.limits.keyBytesMax);
    const { shards, places, answers } = this.#allowed === undefined ? sorted : await withinAllowed(sorted, this.#allowed);
    const outcomes = shards.length === 0 ? [] : await this.#journal.submit(name, shards, this.#now());
    outcomes.forEach((outcome, index) => {
      answers[places[index] ?? 0] = answerOf(name, shards[index]?.key ?? '', outcome);
    });
    if (outcomes.some(({ outcome }) => outcome === 'accepted')) {
      const { timeLimits } = rulesOf(pipeline, this.limits);
      if (timeLimits.pendingMs !== undefined) this.#timekeeper.arm(this.#clock.nowMs() + timeLimits.pendingMs);
      void this.#desk.waiters.wake(name);
    }
    return answers;
  }

  /** Throws PDL_SHARD_UNKNOWN. */
  async get(shardId: string): Promise<Shard> {
    const shard = await this.#journal.shard(shardId);
    if (shard === undefined) throw new PodlineError('PDL_SHARD_UNKNOWN', `there is no shard ${shardId}`);
    return shard;
  }

  /** Throws PDL_SHARD_UNKNOWN. */
  async getByKey(name: string, key: string): Promise<Shard> {
    await this.#record(name);
    const shard = await this.#journal.shardByKey(name, key);
    if (shard === undefined) throw new PodlineError('PDL_SHARD_UNKNOWN', `pipeline ${name} has no shard with the key ${key}`);
    return shard;
  }

  /** In the order of submission, without reports, a page at a time. */
  async list(name: string, request: ListRequest = {}): Promise<ShardPage> {
    await this.#record(name);
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
    const { pipeline } = await this.#record((await this.get(shardId)).pipeline);
    requireStage(pipeline, stage);
    return this.#change(shardId, (now) => this.#journal.resume(shardId, stage, now));
  }

  /** Why the shard is where it is. */
  async explain(shardId: string): Promise<Explanation> {
    const shard = await this.get(shardId);
    const { paused } = await this.#record(shard.pipeline);
    const { pending } = await this.#journal.counts(shard.pipeline);
    return explain(shard, { paused, waiting: pending, lines: this.#desk.viewsOf(shard.pipeline) });
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
    return this.#desk.views();
  }

  /** Throws PDL_LINE_UNKNOWN. */
  async line(name: string): Promise<LineView> {
    return this.#desk.view(name);
  }

  /** It finishes or checkpoints what it has and takes nothing new. */
  async drainLine(name: string): Promise<LineView> {
    this.#desk.drain(name);
    return this.#desk.view(name);
  }

  /** Brings lines up through the driver. They end with `close`. */
  async startLines(name: string, lines: number): Promise<void> {
    const { pipeline } = await this.#record(name);
    if (this.#driver === undefined) throw new PodlineError('PDL_USAGE', 'this coordinator has no driver that could start lines');
    this.#startedLines = true;
    await this.#driver.start(pipeline, lines);
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

  lineHello(line: string, hello: LineHello): Promise<LineWelcome> {
    return this.#desk.hello(line, hello);
  }

  lease(line: string, request: LeaseRequest, signal?: AbortSignal): Promise<LeaseAnswer> {
    return this.#desk.lease(line, request, signal);
  }

  /** Leases that were granted but could not be handed over. */
  takeBack(line: string, leases: readonly ShardAtEpoch[]): Promise<void> {
    return this.#desk.takeBack(line, leases);
  }

  heartbeat(line: string, heartbeat: Heartbeat): Promise<HeartbeatAnswer> {
    return this.#desk.heartbeat(line, heartbeat);
  }

  complete(line: string, complete: Complete): Promise<void> {
    return this.#desk.complete(line, complete);
  }

  fail(line: string, fail: Fail): Promise<void> {
    return this.#desk.fail(line, fail);
  }

  requestSwap(line: string, swap: SwapRequest): Promise<void> {
    return this.#desk.swap(line, swap);
  }

  // --- its own life ---------------------------------------------------------------------------

  stateHash(): Promise<string> {
    return this.#journal.stateHash();
  }

  /** Ends the lines that it started, answers who waits, and lets go. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      if (this.#startedLines) await this.#driver?.stop();
      this.#desk.waiters.close();
      this.#streams.close();
      for (const unsubscribe of this.#unsubscribe) unsubscribe();
      await this.#timekeeper.close();
    })();
    return this.#closed;
  }

  #now(): Moment {
    return { ms: this.#clock.nowMs() + this.#offsetMs, at: this.#clock.wall() };
  }

  /** Throws PDL_PIPELINE_UNKNOWN. */
  async #record(name: string): Promise<PipelineRecord> {
    const record = this.#records.get(name);
    if (record !== undefined) return record;
    const close = nearest(name, [...this.#records.keys()]);
    throw new PodlineError(
      'PDL_PIPELINE_UNKNOWN',
      `there is no pipeline ${name}`,
      close === undefined ? {} : { hint: `Did you mean ${close}?` },
    );
  }

  async #pipelineView({ pipeline, paused, appliedAt }: PipelineRecord, whole: boolean): Promise<PipelineView> {
    const { name, revision } = pipeline;
    const counts = await this.#journal.counts(name);
    return { name, revision, paused, counts, lines: this.#desk.liveCount(name), appliedAt, ...(whole ? { pipeline } : {}) };
  }

  async #setPaused(name: string, paused: boolean): Promise<Changed> {
    const record = await this.#record(name);
    const changed = await this.#journal.setPaused(name, paused, this.#now());
    this.#records.set(name, { ...record, paused });
    if (!paused) void this.#desk.waiters.wake(name);
    return changed;
  }

  async #change(shardId: string, transition: (now: Moment) => Promise<Ending>): Promise<Shard> {
    const { pipeline } = await transition(this.#now());
    this.#desk.forget(shardId);
    this.#timekeeper.arm(0);
    void this.#desk.waiters.wake(pipeline);
    return this.get(shardId);
  }

  async #heedDriver(event: DriverEvent): Promise<void> {
    const { type, ...fields } = event;
    this.#logger.info({ ...fields }, `driver: ${type}`);
    if (event.type === 'lineStarted') this.#desk.expect(event.pipeline, event.group ?? defaultGroup, event.line);
    if (event.type === 'swapFailed') this.#desk.swapFailed(event.line, event.slot, event.step, event.error);
    if (event.type === 'lineEnded' && event.gone) {
      await this.#desk.gone(event.line, event.reason).catch((thrown: unknown) => {
        this.#logger.error(
          { line: event.line, err: String(thrown) },
          'could not give back the shards of a line; their leases will run out',
        );
      });
    }
  }

  /** Leases, back-offs and time limits that are over; answers when something is due next, by the clock. */
  async #doWhatIsDue(stalled: boolean): Promise<number | undefined> {
    const leasesMs = await this.#desk.tick(this.#clock.nowMs(), stalled);
    for (
      let due = await this.#journal.nextDueMs();
      due !== undefined && due <= this.#now().ms;
      due = await this.#journal.nextDueMs()
    ) {
      const { stopped, woken, more } = await this.#journal.advance(this.#now(), advanceMax);
      for (const shardId of stopped) this.#desk.forget(shardId);
      for (const pipeline of woken) void this.#desk.waiters.wake(pipeline);
      if (!more) break;
    }
    const due = await this.#journal.nextDueMs();
    const journalMs = due === undefined ? undefined : due - this.#offsetMs;
    if (leasesMs === undefined || journalMs === undefined) return leasesMs ?? journalMs;
    return Math.min(leasesMs, journalMs);
  }
}
