/**
 * The coordinator's side of the line protocol: who is there, who has which lease, and whose time is over.
 *
 * Owns the registry of lines, the deadlines of leases and the requests that wait. Leaves to the journal which shard is
 * leased and whether an epoch is still the newest; leaves to the driver how a stage gets into a slot.
 *
 * Invariants
 *  1. A lease ends by silence: only a heartbeat that names the shard under its epoch renews it.
 *  2. A line that was started anew (another instance) is leased the shards of its predecessor with its first request, under new epochs.
 *  3. A swap is ordered from the driver once per step, however often the line asks.
 *  4. What is leased is worked on by the pipeline as it was when it was leased, or later: a line that knows an older revision is given the
 *     newer one with its leases. Who applies a pipeline and then replays a shard has it worked on by what was applied.
 *  5. After a stall of the coordinator itself all leases begin anew: its own silence is not the lines'.
 */
import type { Allowed } from '../contracts/access.js';
import type { LineDriver } from '../contracts/driver.js';
import { PodlineError, isPodlineError, type WireError } from '../contracts/errors.js';
import { eventTypes, type EventType } from '../contracts/events.js';
import type {
  Complete,
  Fail,
  Heartbeat,
  LineHello,
  SwapRequest,
  ShardAtEpoch,
  heartbeatAnswerSchema,
  lineWelcomeSchema,
} from '../contracts/line-api.js';
import type { CoordinatorMetrics } from '../contracts/telemetry.js';
import { traceFields } from '../contracts/trace.js';
import type { LineView } from '../contracts/views.js';
import type { Journal, Moment, NewEvent, PipelineRecord } from '../journal/journal.js';
import { defaultGroup } from '../line/groups.js';
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import type { z } from 'zod';
import { Grants, type LeaseAnswer, type LeaseRequest, type NextLeases } from './grants.js';
import { Leases } from './leases.js';
import { Lines, viewOf, type Line } from './lines.js';
import { orderSwap } from './swap-order.js';
import { Waiters } from './waiters.js';

export type LineWelcome = z.infer<typeof lineWelcomeSchema>;
export type HeartbeatAnswer = z.infer<typeof heartbeatAnswerSchema>;

export interface LineDeskParts {
  journal: Journal;
  clock: Clock;
  driver: LineDriver | undefined;
  logger: Logger;
  metrics: CoordinatorMetrics;
  bounds: { leaseTtlMs: number; heartbeatMs: number; linesMax: number };
  /** What lines are told of where sources and results may lie. */
  allowed: Allowed | undefined;
  now: () => Moment;
  pipeline: (name: string) => Promise<PipelineRecord>;
  /** Something may be due earlier than was planned. */
  arm: (atMs: number) => void;
}

/** A silent line is forgotten after so many lease times; it says hello when it comes back. */
const forgottenAfterTtls = 20;

export class LineDesk {
  readonly waiters: Waiters;
  readonly #lines: Lines;
  readonly #leases = new Leases();
  readonly #grants: Grants;

  constructor(private readonly parts: LineDeskParts) {
    this.waiters = new Waiters(parts.clock);
    this.#lines = new Lines(parts.bounds.linesMax);
    this.#grants = new Grants({
      ...parts,
      leaseTtlMs: parts.bounds.leaseTtlMs,
      lines: this.#lines,
      leases: this.#leases,
      takeBack: (line, leases) => this.takeBack(line, leases),
    });
  }

  /** Lines say hello to whoever leads now. */
  forgetAll(): void {
    for (const { name } of this.#lines.all()) this.#lines.drop(name);
    this.#leases.clear();
  }

  /** After a restart every running shard is expected back for one lease time. */
  async recover(): Promise<void> {
    const deadlineMs = this.#deadlineMs();
    for (const shard of await this.parts.journal.running()) this.#leases.hold({ ...shard, deadlineMs });
    if (this.#leases.size > 0) this.parts.arm(deadlineMs);
  }

  async hello(name: string, hello: LineHello): Promise<LineWelcome> {
    const { pipeline } = await this.parts.pipeline(hello.pipeline);
    const before = this.#lines.find(name);
    const again = before?.hello.instance === hello.instance;
    const deadlineMs = this.#deadlineMs();
    const reclaim = this.#leases.ofLine(name).filter((lease) => lease.instance !== hello.instance);
    for (const lease of reclaim) lease.deadlineMs = deadlineMs;
    this.#lines.put({
      name,
      hello,
      group: hello.group ?? defaultGroup,
      lastHeardMs: this.parts.clock.nowMs(),
      draining: again && before.draining,
      silent: false,
      revision: pipeline.revision,
      reclaim: reclaim.map((lease) => lease.shardId),
      ordered: again ? before.ordered : new Map<number, string>(),
      failedSwaps: again ? before.failedSwaps : new Map<number, { step: string; error: WireError }>(),
      heartbeat: again ? before.heartbeat : undefined,
    });
    this.parts.arm(deadlineMs);
    if (!again) {
      this.parts.logger.info(
        { line: name, pipeline: hello.pipeline, instance: hello.instance, node: hello.node, reclaims: reclaim.length },
        'a line said hello',
      );
      await this.parts.journal.report(
        name,
        [],
        [
          {
            type: 'line.joined',
            pipeline: hello.pipeline,
            line: name,
            data: { node: hello.node, slots: hello.slots, instance: hello.instance },
          },
        ],
        this.parts.now(),
      );
    }
    const { allowed, bounds } = this.parts;
    const { leaseTtlMs, heartbeatMs } = bounds;
    return { pipeline, leaseTtlMs, heartbeatMs, ...(allowed === undefined ? {} : { allowed }) };
  }

  /** Answers at once when there is work, else when there is, else after `waitMs`. An aborted one leaves nothing leased behind. */
  async lease(name: string, request: LeaseRequest, signal?: AbortSignal): Promise<LeaseAnswer> {
    const line = this.#heard(name, request.instance);
    const { pipeline } = line.hello;
    await this.#takeBackUnheard(line, request.held);
    const answer = await this.#grants.lease(line, request, signal);
    if (answer.leases.length > 0 || request.waitMs === 0 || line.draining || signal?.aborted === true) return answer;
    return new Promise<LeaseAnswer>((resolve, reject) => {
      let answered = false;
      const waiter = {
        line: name,
        serve: async () => {
          try {
            const later = await this.#grants.lease(line, request, signal);
            if (later.leases.length === 0) return answered;
            // It gave up while the journal was at work: nobody would hear of these leases.
            if (answered) await this.takeBack(name, later.leases);
            answered = true;
            resolve(later);
          } catch (thrown) {
            reject(PodlineError.from(thrown));
          }
          return true;
        },
        giveUp: () => {
          if (answered) return;
          answered = true;
          void this.#grants.waiting(pipeline, line.group).then((queued) => {
            resolve({ leases: [], queued });
          }, reject);
        },
      };
      this.waiters.add(pipeline, line.group, waiter, request.waitMs, signal);
      // What came while the first look was under way.
      void this.waiters.wake(pipeline);
    });
  }

  /** Leases that could not be handed over, because the line went away or did not hear the answer. What is over already stays so. */
  async takeBack(name: string, leases: readonly ShardAtEpoch[]): Promise<void> {
    const error = new PodlineError('PDL_LEASE_LOST', `line ${name} did not hear that it was given the shard`).toWire();
    for (const { shardId, epoch } of leases)
      await this.fail(name, { shardId, epoch, error, counts: false }).catch((thrown: unknown) => {
        if (!isPodlineError(thrown, 'PDL_LEASE_LOST')) throw thrown;
        this.#leases.drop(shardId, epoch);
      });
  }

  async heartbeat(name: string, heartbeat: Heartbeat): Promise<HeartbeatAnswer> {
    const line = this.#heard(name, heartbeat.instance);
    const record = await this.parts.pipeline(line.hello.pipeline);
    const deadlineMs = this.#deadlineMs();
    const lost: string[] = [];
    const told = new Map(line.heartbeat?.shards.map((shard) => [shard.shardId, shard.stagesDone.join('\n')]));
    const changed = heartbeat.shards.filter((shard) => {
      const held = this.#leases.renew(name, shard.shardId, shard.epoch, deadlineMs);
      if (!held) lost.push(shard.shardId);
      return held && told.get(shard.shardId) !== shard.stagesDone.join('\n');
    });
    line.heartbeat = { ...heartbeat, events: [] };
    const events = heartbeat.events.flatMap((event): NewEvent[] => {
      const type = eventTypes.find((known): known is EventType => known === event.type);
      if (type === undefined)
        this.parts.logger.warn({ line: name, type: event.type }, 'a line told of an event of an unknown type');
      return type === undefined ? [] : [{ ...event, type, pipeline: line.hello.pipeline, line: name }];
    });
    if (changed.length > 0 || events.length > 0) await this.parts.journal.report(name, changed, events, this.parts.now());
    if (heartbeat.revision !== undefined) line.revision = heartbeat.revision;
    const newer = record.pipeline.revision !== line.revision;
    line.revision = record.pipeline.revision;
    const failedSwaps = [...line.failedSwaps].map(([slot, failed]) => ({ slot, ...failed }));
    return { lost, drain: line.draining, paused: record.paused, failedSwaps, ...(newer ? { pipeline: record.pipeline } : {}) };
  }

  /**
   * Throws PDL_LEASE_LOST; then nothing is leased. The same call again is answered as the first was. With `next`, leases of what waits now, in the
   * same transition; undefined where there could be none for a reason that the line hears when it asks for them by themselves.
   */
  async complete(name: string, complete: Complete, next?: NextLeases): Promise<LeaseAnswer | undefined> {
    const line = next === undefined ? undefined : this.#mayAsk(name, next);
    // What is completed has arrived, whatever else has.
    if (line !== undefined && next?.held !== undefined) await this.#takeBackUnheard(line, [...next.held, complete]);
    const { completed, answer } =
      line === undefined || next === undefined
        ? { completed: await this.parts.journal.complete(name, complete, this.parts.now()), answer: undefined }
        : await this.#grants.completeAndLease(line, complete, next);
    this.#leases.drop(complete.shardId, complete.epoch);
    if (completed.changed) this.parts.metrics.completed(completed.pipeline, complete, completed);
    return answer?.();
  }

  /** Throws PDL_LEASE_LOST. The same call again is answered as the first was. */
  async fail(name: string, fail: Fail): Promise<void> {
    const outcome = await this.parts.journal.fail(name, fail, fail, this.parts.now());
    this.#leases.drop(fail.shardId, fail.epoch);
    if (!outcome.changed) return;
    const { code, message } = fail.error;
    this.parts.logger.warn(
      {
        shardId: fail.shardId,
        ...traceFields(outcome.trace),
        line: name,
        pipeline: outcome.pipeline,
        stage: fail.stage,
        code,
        counts: fail.counts,
        state: outcome.state,
      },
      message,
    );
    this.parts.arm(0);
    void this.waiters.wake(outcome.pipeline);
  }

  /** Resolves when the driver has taken the order. Throws PDL_SWAP_FAILED, PDL_LINE_UNKNOWN, PDL_REQUEST_INVALID. */
  async swap(name: string, request: SwapRequest): Promise<void> {
    const line = this.#lines.get(name);
    const { pipeline } = await this.parts.pipeline(line.hello.pipeline);
    await orderSwap(line, pipeline, this.parts.driver, request);
  }

  /** The driver took an order and cannot carry it out: the line hears of it with its next heartbeat. */
  swapFailed(name: string, slot: number, step: string, error: WireError): void {
    const line = this.#lines.find(name);
    // Of an order that a newer one has replaced, nobody wants to hear.
    if (line?.ordered.get(slot) === step) line.failedSwaps.set(slot, { step, error });
  }

  /** The line takes nothing new and finishes or checkpoints what it has; with `false`, it is wanted again. */
  drain(name: string, draining = true): void {
    this.#lines.get(name).draining = draining;
  }

  /** The driver has started a line: it is waited for as long as a lease lasts. */
  expect(pipeline: string, group: string, name: string): void {
    this.#lines.expect(pipeline, group, name, this.#deadlineMs());
  }

  /** The line will not come back: its shards go to others at once. */
  async gone(name: string, reason: string): Promise<void> {
    const line = this.#lines.find(name);
    this.#lines.drop(name);
    const leases = this.#leases.ofLine(name);
    if (line !== undefined)
      await this.parts.journal.report(
        name,
        [],
        [{ type: 'line.lost', pipeline: line.hello.pipeline, line: name, data: { reason, shards: leases.length } }],
        this.parts.now(),
      );
    await this.#expire(leases, `line ${name} is gone: ${reason}`);
  }

  /** Shards that run on lines other than these go back to the queue at once. */
  async releaseAbsent(present: readonly string[]): Promise<void> {
    const absent = (await this.parts.journal.running()).filter((shard) => !present.includes(shard.line));
    await this.#expire(absent, 'its line was not started again');
  }

  /** The shard is no longer leased, whatever its line says. */
  forget(shardId: string): void {
    this.#leases.drop(shardId);
  }

  /** Ends what is over. `stalled`: the coordinator itself was late, and nobody is to blame. Answers when to look again. */
  async tick(nowMs: number, stalled: boolean): Promise<number | undefined> {
    if (stalled) {
      for (const lease of this.#leases.due(Number.POSITIVE_INFINITY)) lease.deadlineMs = this.#deadlineMs();
      for (const line of this.#lines.all()) line.lastHeardMs = nowMs;
    }
    const { leaseTtlMs } = this.parts.bounds;
    for (const line of this.#lines.all()) {
      const silentMs = nowMs - line.lastHeardMs;
      if (silentMs >= leaseTtlMs && !line.silent) {
        line.silent = true;
        this.parts.logger.warn({ line: line.name, pipeline: line.hello.pipeline, silentMs }, 'a line is silent');
        await this.parts.journal.report(
          line.name,
          [],
          [{ type: 'line.lost', pipeline: line.hello.pipeline, line: line.name, data: { reason: 'it is silent', silentMs } }],
          this.parts.now(),
        );
      }
      if (silentMs >= leaseTtlMs * forgottenAfterTtls) this.#lines.drop(line.name);
    }
    await this.#expire(this.#leases.due(nowMs), 'its line was silent for longer than the lease lasts');
    const nextLeaseMs = this.#leases.nextDeadlineMs();
    const watched = this.#lines.all().length > 0 ? nowMs + leaseTtlMs / 3 : undefined;
    return nextLeaseMs === undefined ? watched : Math.min(nextLeaseMs, watched ?? nextLeaseMs);
  }

  views(): LineView[] {
    return this.#lines.all().map((line) => this.#view(line));
  }

  viewsOf(pipeline: string): LineView[] {
    return this.#lines.of(pipeline).map((line) => this.#view(line));
  }

  /** Throws PDL_LINE_UNKNOWN. */
  view(name: string): LineView {
    return this.#view(this.#lines.get(name));
  }

  liveCount(pipeline: string): number {
    return this.#lines.liveCount(pipeline);
  }

  #view(line: Line): LineView {
    return viewOf(line, this.#leases.ofLine(line.name), this.parts.clock.nowMs());
  }

  #deadlineMs(): number {
    return this.parts.clock.nowMs() + this.parts.bounds.leaseTtlMs;
  }

  #heard(name: string, instance: string | undefined): Line {
    const line = this.#lines.get(name);
    if (instance !== undefined && instance !== line.hello.instance) {
      throw new PodlineError('PDL_LEASE_LOST', `line ${name} was started anew as ${line.hello.instance}; this is ${instance}`, {
        hint: 'End this process: another one has taken its place.',
      });
    }
    line.lastHeardMs = this.parts.clock.nowMs();
    line.silent = false;
    return line;
  }

  async #takeBackUnheard({ name, hello }: Line, held: readonly ShardAtEpoch[] | undefined): Promise<void> {
    const unheard = held === undefined ? [] : this.#leases.unheard(name, hello.instance, held);
    if (unheard.length > 0) await this.takeBack(name, unheard);
  }

  /** The line, if it may be leased something with what it completes. */
  #mayAsk(name: string, next: NextLeases): Line | undefined {
    try {
      return this.#heard(name, next.instance);
    } catch (thrown) {
      if (isPodlineError(thrown, 'PDL_LINE_UNKNOWN') || isPodlineError(thrown, 'PDL_LEASE_LOST')) return undefined;
      throw thrown;
    }
  }

  async #expire(shards: readonly ShardAtEpoch[], reason: string): Promise<void> {
    if (shards.length === 0) return;
    const ended = await this.parts.journal.expire(shards, reason, this.parts.now());
    for (const { shardId, epoch } of shards) this.#leases.drop(shardId, epoch);
    for (const { shardId, line, pipeline } of ended) this.parts.logger.warn({ shardId, line, pipeline, reason }, 'a lease ended');
    for (const pipeline of new Set(ended.map((shard) => shard.pipeline))) void this.waiters.wake(pipeline);
  }
}
