/**
 * Takes submissions in: refuses them while the queue is full, rejects those that do not fit, hands the others to the journal, and answers
 * each. What it accepts is durable.
 *
 * Each submission is a span, `request`, under the trace that it brought; the shard goes on under that span.
 */
import type { Addresses, Allowed } from '../contracts/access.js';
import type { Submission, SubmitAnswer } from '../contracts/shard.js';
import { noTracing, type Span, type Tracing } from '../contracts/telemetry.js';
import type { Journal, Moment, NewShard, PipelineRecord } from '../journal/journal.js';
import type { FlowDesk } from './flow-desk.js';
import type { CoordinatorLimits } from './options.js';
import { rulesOf } from './rules.js';
import { answerOf, sortSubmissions } from './submissions.js';

export interface SubmissionDeskParts {
  journal: Pick<Journal, 'submit'>;
  flow: Pick<FlowDesk, 'refuse' | 'stirred'>;
  limits: CoordinatorLimits;
  tracing: Tracing;
  allowed: Allowed | undefined;
  callbacks: Addresses | undefined;
  now: () => Moment;
  /** Of the pipeline there is work that waits, for at most `pendingMs` if it has a limit. */
  onWork: (pipeline: string, pendingMs: number | undefined) => void;
}

export class SubmissionDesk {
  constructor(private readonly parts: SubmissionDeskParts) {}

  /** One answer per submission, in order. At most `limits.submitBatchMax` at once. */
  async submit({ pipeline }: PipelineRecord, submissions: readonly Submission[]): Promise<SubmitAnswer[]> {
    const { flow, limits } = this.parts;
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

  /** The shard is told its place in the trace. */
  #begin(pipeline: string, shard: NewShard): Span {
    const span = this.parts.tracing.begin('request', shard.trace, { pipeline, 'shard.key': shard.key });
    shard.trace = span.trace;
    return span;
  }
}
