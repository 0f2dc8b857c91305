/**
 * Takes submissions in: holds streams back while the pace asks for a rest, refuses what comes while the queue is full, rejects what does not fit,
 * hands the rest to the journal, and answers each. What it accepts is durable.
 *
 * Each submission is a span, `request`, under the trace that it brought; the shard goes on under that span.
 */
import type { Addresses, Allowed } from '../contracts/access.js';
import { PodlineError } from '../contracts/errors.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { Submission, SubmitAnswer } from '../contracts/shard.js';
import { noTracing, type Span, type Tracing } from '../contracts/telemetry.js';
import type { Journal, Moment, NewShard, PipelineRecord } from '../journal/journal.js';
import { planHold } from '../line/pace.js';
import type { Clock } from '../platform/clock.js';
import type { FlowDesk } from './flow-desk.js';
import type { CoordinatorLimits } from './options.js';
import { rulesOf } from './rules.js';
import { answerOf, sortSubmissions } from './submissions.js';

export interface SubmissionDeskParts {
  journal: Pick<Journal, 'submit'>;
  clock: Clock;
  flow: Pick<FlowDesk, 'pace' | 'refuse' | 'stirred'>;
  limits: CoordinatorLimits;
  tracing: Tracing;
  allowed: Allowed | undefined;
  callbacks: Addresses | undefined;
  now: () => Moment;
  /** Of the pipeline there is work that waits, for at most `pendingMs` if it has a limit. */
  onWork: (pipeline: string, pendingMs: number | undefined) => void;
}

export interface SubmitOptions {
  /** Whoever submits can wait, as a stream can: it is held back while the pace asks for a rest, until the signal at the latest. */
  patience?: AbortSignal | undefined;
}

export class SubmissionDesk {
  constructor(private readonly parts: SubmissionDeskParts) {}

  /** One answer per submission, in order. At most `limits.submitBatchMax` at once. */
  async submit(
    { pipeline }: PipelineRecord,
    submissions: readonly Submission[],
    { patience }: SubmitOptions = {},
  ): Promise<SubmitAnswer[]> {
    const { flow, limits } = this.parts;
    if (patience !== undefined) await this.#hold(pipeline, patience);
    const refused = await flow.refuse(pipeline, submissions);
    if (refused !== undefined) return refused;
    const { shards, places, answers } = await sortSubmissions(pipeline, submissions, this.parts);
    if (shards.length === 0) return answers;
    const { name } = pipeline;
    const spans = this.parts.tracing === noTracing ? [] : shards.map((shard) => this.#begin(name, shard));
    let isWork = false;
    try {
      const outcomes = await this.parts.journal.submit(name, shards, this.parts.now());
      for (const [index, outcome] of outcomes.entries()) {
        answers[places[index] ?? 0] = answerOf(name, shards[index]?.key ?? '', outcome);
        spans[index]?.end({ outcome: outcome.outcome, ...('id' in outcome ? { 'shard.id': outcome.id } : {}) });
        isWork ||= outcome.outcome === 'accepted';
      }
    } finally {
      for (const span of spans) span.end({ outcome: 'failed' });
    }
    if (isWork) {
      this.parts.onWork(name, rulesOf(pipeline, limits).timeLimits.pendingMs);
      flow.stirred();
    }
    return answers;
  }

  /** Looks again and again: each look may find that there is room. Throws PDL_QUEUE_FULL when nobody waits for the answers any more. */
  async #hold(pipeline: Pipeline, patience: AbortSignal): Promise<void> {
    const { flow, clock } = this.parts;
    const beganMs = clock.nowMs();
    for (;;) {
      const pace = await flow.pace(pipeline);
      if (patience.aborted) throw new PodlineError('PDL_QUEUE_FULL', `the stream ended while it was held back; ${pace.why}`);
      const holdMs = planHold(pace, clock.nowMs() - beganMs);
      if (holdMs === 0) return;
      await rest(clock, holdMs, patience);
    }
  }

  /** The shard is told its place in the trace. */
  #begin(pipeline: string, shard: NewShard): Span {
    const span = this.parts.tracing.begin('request', shard.trace, { pipeline, 'shard.key': shard.key });
    shard.trace = span.trace;
    return span;
  }
}

/** Ends early with the signal. */
function rest(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise<void>((resolve) => {
    const done = (): void => {
      callOff();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const callOff = clock.after(ms, done);
    signal.addEventListener('abort', done, { once: true });
  });
}
