/**
 * What the agent does for a shard from lease to release: take it in, load, deliver, tell how it ended, free.
 *
 * Carries out effects of the heart and answers with events; decides nothing. What comes back for a shard that has left
 * the line meanwhile is dropped.
 */
import { inputStream } from '../../runtime/contracts/block.js';
import { PodlineError, isElsewhere, isPodlineError, type WireError } from '../../runtime/contracts/errors.js';
import { limits } from '../../runtime/contracts/limits.js';
import type { Lease, ShardAtEpoch } from '../../runtime/contracts/line-api.js';
import type { LeaseAnswer } from '../../runtime/api/line-client.js';
import type { Span } from '../../runtime/contracts/telemetry.js';
import { traceFields } from '../../runtime/contracts/trace.js';
import { recover } from '../../runtime/checkpoints/recovery.js';
import { nothingObserved, observeNeed, type ObservedNeed } from '../../runtime/line/memory.js';
import type { KnownStream } from '../../runtime/line/types.js';
import { deliverInThread } from '../../runtime/results/deliver.js';
import { loadInThread } from '../../runtime/sources/load-in-thread.js';
import type { Agent } from './agent.js';
import { checkpointNow, finalCheckpoint } from './checkpointing.js';
import { needBytesOf, sourceBytesOf } from './planning.js';
import { Resident } from './resident.js';
import { makeRoom } from './room.js';
import { traced } from './traced.js';

export class ShardWork {
  readonly #stopped = new AbortController();
  #observed: ObservedNeed = nothingObserved;
  #strangersDropped = false;
  readonly #chains = new Map<string, Promise<void>>();

  constructor(private readonly agent: Agent) {}

  /** Hangs up on a coordinator that may keep the line waiting for work as long as `leaseWaitMs`. */
  stop(): void {
    this.#stopped.abort();
  }

  /** Asks the coordinator for work. */
  async lease(max: number, wait: boolean): Promise<void> {
    await this.#takeIn(this.#ask(max, wait));
  }

  async #ask(max: number, wait: boolean): Promise<LeaseAnswer> {
    const { residents, held } = this.#present();
    // What an agent before this one had here comes back whole: nobody else could go on in the middle of it.
    const atLeast = this.#strangersDropped ? 0 : Math.min(residents.length, leasesMax);
    const request = { max: Math.max(max, atLeast), waitMs: wait ? limits.leaseWaitMs : 0, residents, held };
    const answer = await this.agent.options.client.lease(request, this.#stopped.signal);
    await this.#dropStrangers(answer.leases);
    return answer;
  }

  /** What the coordinator is told with each request for leases: whose streams lie here, and which leases have arrived. */
  #present(): { residents: string[]; held: ShardAtEpoch[] } {
    return { residents: this.agent.options.scratch.shards().map((shard) => shard.shardId), held: this.agent.held };
  }

  /** Every request for leases ends here, with `leased` or `leaseRequestEnded`. */
  async #takeIn(asked: Promise<LeaseAnswer | undefined>): Promise<void> {
    try {
      const answer = (await asked) ?? { leases: [], queued: 0 };
      if (this.#stopped.signal.aborted) {
        await Promise.all(answer.leases.map((lease) => this.giveBack(lease)));
        return;
      }
      if (answer.pipeline !== undefined) this.agent.revise(answer.pipeline);
      const { outputsAtOnce } = this.agent;
      const leases = await Promise.all(
        answer.leases.map(async (lease) => ({
          lease,
          needBytes: await needBytesOf(lease, outputsAtOnce, this.#observed),
        })),
      );
      if (leases.length === 0) this.agent.dispatch({ type: 'leaseRequestEnded', queued: answer.queued });
      else this.agent.dispatch({ type: 'leased', leases, queued: answer.queued });
      await this.agent.renewed();
    } catch (thrown) {
      if (this.#stopped.signal.aborted) return;
      this.agent.options.logger.warn({ err: PodlineError.from(thrown).message }, 'asked for work in vain');
      this.agent.dispatch({ type: 'leaseRequestEnded', queued: 0 });
    }
  }

  /** Once, after the first answer: what an agent before this one left behind and nobody leased to us again is not ours to keep. */
  async #dropStrangers(leases: readonly Lease[]): Promise<void> {
    if (this.#strangersDropped) return;
    this.#strangersDropped = true;
    for (const { shardId } of this.agent.options.scratch.shards()) {
      if (!leases.some((lease) => lease.shardId === shardId)) await this.agent.options.scratch.dropShard(shardId);
    }
  }

  /** Takes a shard up: what can be restored is, the rest is read from the source. */
  async load(shardId: string, lease: Lease): Promise<void> {
    // An earlier load of the shard is void: what it brings is nobody's any more.
    this.agent.residents.get(shardId)?.gone.abort();
    const resident = new Resident(lease, this.agent.pipeline, this.agent.options.nowMs(), this.#beginLease(lease));
    this.agent.residents.set(shardId, resident);
    await this.#inOrder(shardId, () => this.#load(resident));
  }

  #beginLease({ shardId, key, epoch, attempts, trace }: Lease): Span {
    const { tracing, line } = this.agent.options;
    const { name: pipeline, revision } = this.agent.pipeline;
    return tracing.begin('lease', trace, {
      ...{ pipeline, revision, line, epoch, attempts },
      ...{ 'shard.id': shardId, 'shard.key': key },
    });
  }

  /** What puts a shard into the scratch and what takes it out of it follow each other. */
  async #inOrder(shardId: string, work: () => Promise<void>): Promise<void> {
    const before = this.#chains.get(shardId) ?? Promise.resolve();
    const mine = before.then(work, work);
    this.#chains.set(shardId, mine);
    try {
      await mine;
    } finally {
      if (this.#chains.get(shardId) === mine) this.#chains.delete(shardId);
    }
  }

  async #load(resident: Resident): Promise<void> {
    if (!this.agent.isOurs(resident)) return;
    const { shardId } = resident.lease;
    const { scratch, checkpoints, logger } = this.agent.options;
    try {
      await scratch.putShard({ shardId, epoch: resident.lease.epoch, revision: resident.pipeline.revision });
      const recovery = await recover({
        shardId,
        epoch: resident.lease.epoch,
        pipeline: resident.pipeline.name,
        stages: resident.pipeline.stages,
        results: resident.results,
        lineages: resident.lineages,
        scratch,
        checkpoints,
        logger,
        nowMs: this.agent.options.nowMs,
        ...(resident.lease.resumeFrom === undefined ? {} : { resumeFrom: resident.lease.resumeFrom }),
      });
      resident.report.recovered(recovery);
      resident.enter();
      for (const why of recovery.refused) this.agent.note('checkpoint.refused', shardId, { why });
      if (recovery.resumedFrom !== 'source') this.agent.note('shard.resumed', shardId, { from: recovery.resumedFrom });
      const known = recovery.known.filter((stream) => stream.stream !== inputStream);
      if (needsLoading(recovery.plan.decisions, recovery.known)) await this.#read(resident);
      if (!this.agent.isOurs(resident)) return;
      this.agent.dispatch({ type: 'loaded', shardId, known });
    } catch (thrown) {
      if (!this.agent.isOurs(resident)) return;
      this.agent.dispatch({ type: 'loadFailed', shardId, error: PodlineError.from(thrown).toWire() });
    }
  }

  /** Reads the source, once, into the stream `input`. */
  async #read(resident: Resident): Promise<void> {
    const { shardId, epoch } = resident.lease;
    const { scratch, scratchOptions, tracing } = this.agent.options;
    const lineage = resident.lineages.get(inputStream);
    if (lineage === undefined) throw new PodlineError('PDL_INTERNAL', `shard ${shardId} has no lineage for its input`);
    const startedMs = this.agent.options.nowMs();
    const run = { runId: `${this.agent.options.instance}.load.${String(epoch)}`, epoch };
    await scratch.beginRun(shardId, inputStream, run);
    const loaded = await traced(tracing.begin('load', resident.span.trace, { 'shard.id': shardId }), () =>
      loadInThread(
        {
          source: resident.lease.source,
          input: this.agent.pipeline.spec.input,
          shardId,
          lineage,
          run,
          scratch: scratchOptions,
          allowed: this.agent.options.client.allowed?.sources,
        },
        {
          signal: resident.gone.signal,
          onFull: (bytes) => makeRoom(this.agent, bytes),
        },
      ),
    );
    const ms = this.agent.options.nowMs() - startedMs;
    resident.report.loaded({ rows: loaded.rows, ms, sourceReads: loaded.sourceReads, bytes: loaded.bytes }, loaded.wholeAtMs);
    this.agent.note('shard.loaded', shardId, { rows: loaded.rows, ms: Math.round(ms), bytes: loaded.bytes });
    checkpointNow(this.agent, shardId);
  }

  async deliver(shardId: string): Promise<void> {
    const resident = this.agent.residents.get(shardId);
    if (resident === undefined) return;
    const span = this.agent.options.tracing.begin('deliver', resident.span.trace, { 'shard.id': shardId });
    try {
      const delivered = await traced(span, () =>
        deliverInThread({
          scratchOptions: this.agent.options.scratchOptions,
          shardId,
          shardKey: resident.lease.key,
          pipeline: resident.pipeline,
          lineages: resident.lineages,
          resultStages: resident.results,
          resultDir: resident.lease.resultDir,
          allowedRoots: this.agent.options.client.allowed?.results.roots,
          format: resident.pipeline.spec.result.format,
          epoch: resident.lease.epoch,
          signal: resident.gone.signal,
        }),
      );
      if (!this.agent.isOurs(resident)) return;
      resident.report.delivered(delivered.bytes);
      resident.result = delivered.result;
      this.agent.note('shard.delivered', shardId, {
        dir: delivered.result.dir,
        hash: delivered.result.hash,
        already: delivered.already,
      });
      this.agent.dispatch({ type: 'delivered', shardId });
    } catch (thrown) {
      if (this.agent.isOurs(resident))
        this.agent.dispatch({ type: 'deliverFailed', shardId, error: PodlineError.from(thrown, 'PDL_RESULT_DIR').toWire() });
    }
  }

  /** The completion asks besides for `leaseMax` shards where that is above 0; they are taken in once the end of this one is. */
  async complete(shardId: string, leaseMax: number): Promise<void> {
    const completed = this.#complete(shardId, leaseMax);
    await (leaseMax > 0 ? this.#takeIn(completed) : completed);
  }

  async #complete(shardId: string, leaseMax: number): Promise<LeaseAnswer | undefined> {
    const resident = this.agent.residents.get(shardId);
    if (resident?.result === undefined) return undefined;
    const { peakBytes } = this.agent.options.scratch.usage();
    resident.report.scratchUsed(peakBytes);
    this.#observed = observeNeed(
      this.#observed,
      peakBytes / Math.max(1, this.agent.residents.size),
      await sourceBytesOf(resident.lease),
    );
    // Of a lone shard the whole story is told before its end; where many flow, it comes with the next heartbeat.
    if (this.agent.residents.size === 1) await this.agent.sayRest();
    return this.#settle(resident.lease, async () => {
      const answer = await this.agent.options.client.complete(
        { ...idOf(resident.lease), result: resident.result ?? never(), report: resident.report.build() },
        'bounded',
        // No heart asks before its first request was answered: the strangers are gone by then.
        leaseMax > 0 && !this.#stopped.signal.aborted ? { max: leaseMax, ...this.#present() } : undefined,
      );
      resident.completed = true;
      resident.span.end({ outcome: 'completed' });
      return answer;
    });
  }

  async fail(shardId: string, error: WireError, stage: string | undefined, counts: boolean): Promise<void> {
    const resident = this.agent.residents.get(shardId);
    if (resident === undefined) return;
    this.agent.options.logger.error(
      { shardId, ...traceFields(resident.lease.trace), stage, code: error.code, err: error.message },
      'a shard failed',
    );
    resident.span.end({ outcome: counts ? 'failed' : 'given back', stage }, error);
    // Whoever tries it again goes on from here.
    await finalCheckpoint(this.agent, resident, 'the shard failed');
    await this.#settle(resident.lease, () =>
      this.agent.options.client.fail({ ...idOf(resident.lease), error, counts, ...(stage === undefined ? {} : { stage }) }),
    );
  }

  /** A lease that this process will do nothing for: it goes to whoever asks next, and no attempt is counted. */
  async giveBack(lease: Lease): Promise<void> {
    const { client, line, logger } = this.agent.options;
    const error = new PodlineError('PDL_LINE_DRAINED', `line ${line} ends and gives the shard back`).toWire();
    await client.fail({ ...idOf(lease), error, counts: false }, 'once').catch((thrown: unknown) => {
      logger.warn({ shardId: lease.shardId, err: String(thrown) }, 'could not give the shard back; its lease will run out');
    });
  }

  /** Tells the coordinator how a shard ended, until it has heard or says that the lease is another's; then there is no answer. */
  async #settle<T>({ shardId, epoch }: Lease, tell: () => Promise<T>): Promise<T | undefined> {
    let answer: T;
    try {
      answer = await this.#untilHeard(tell);
    } catch (thrown) {
      if (!isPodlineError(thrown, 'PDL_LEASE_LOST')) {
        // It was tried for as long as the lease lives: whoever holds it now starts from the checkpoint.
        this.agent.options.logger.error(
          { shardId, err: PodlineError.from(thrown).message },
          'the coordinator did not hear how the shard ended',
        );
      }
      this.agent.dispatch({ type: 'leaseLost', shardId, epoch, reason: PodlineError.from(thrown).message });
      return undefined;
    }
    this.agent.dispatch({ type: 'ended', shardId, epoch });
    return answer;
  }

  /** A coordinator that is started again, or followed by another one, is away for less than a lease: the work is not thrown away for that. */
  async #untilHeard<T>(tell: () => Promise<T>): Promise<T> {
    const { nowMs } = this.agent.options;
    const untilMs = nowMs() + limits.leaseTtlMs;
    for (;;) {
      try {
        return await tell();
      } catch (thrown) {
        // The client has paused between its tries.
        if (!isElsewhere(PodlineError.from(thrown)) || this.#stopped.signal.aborted || nowMs() >= untilMs) throw thrown;
      }
    }
  }

  async free(shardId: string): Promise<void> {
    const { agent } = this;
    const resident = agent.residents.get(shardId);
    agent.residents.delete(shardId);
    resident?.gone.abort();
    agent.runs.forget((run) => run.shardId === shardId);
    await this.#inOrder(shardId, async () => {
      await agent.runs.prepared.over(shardId);
      if (resident?.completed === true && !resident.pipeline.spec.checkpoints.keepCompleted) {
        await agent.options.checkpoints.forget(resident.pipeline.name, shardId);
      } else {
        await agent.options.checkpoints.leave(shardId);
      }
      await agent.options.scratch.dropShard(shardId);
    });
  }
}

/** What one request may ask for. */
const leasesMax = 256;

const idOf = (lease: Lease): { shardId: string; epoch: number } => ({ shardId: lease.shardId, epoch: lease.epoch });

function needsLoading(decisions: readonly { stream: string; action: string }[], known: readonly KnownStream[]): boolean {
  const input = decisions.find((decision) => decision.stream === inputStream);
  if (input === undefined || input.action === 'skip') return false;
  return known.find((stream) => stream.stream === inputStream)?.sealed !== true;
}

function never(): never {
  throw new PodlineError('PDL_INTERNAL', 'a shard was completed without a result');
}
