/**
 * Messages → the journal. One try: what becomes of each message is told, and who called does what its broker wants done.
 *
 * Only what is wrong with the request itself refuses it for good. Whatever is wrong with the coordinator, the way to it or the token
 * says `later`: a request is never thrown away for that.
 */
import { PodlineError, isPodlineError, type ErrorCode, type WireError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import type { PaceView, PipelineView } from '../contracts/views.js';
import type { Submission, SubmitAnswer } from '../contracts/shard.js';
import type { Office } from './connector.js';
import { readRequest, submissionOf, type Incoming, type Request } from './request.js';
import type { Pace } from './pace.js';
import type { Status } from './status.js';

/** `duplicate`: the journal had a shard with this key before. */
export type Fate =
  { fate: 'taken'; duplicate: boolean } | { fate: 'refused'; error: WireError } | { fate: 'later'; error: WireError };

/** Of one transaction; and of one request, if it goes over HTTP. */
const groupMax = limits.submitGroupMax;
const groupBytesMax = limits.requestBytesMax / 4;
/** Pipelines whose input format is remembered. */
const pipelinesMax = 256;

/** Thrown for a whole group, these are still about the requests in it. */
const aboutTheRequest: readonly ErrorCode[] = ['PDL_PIPELINE_UNKNOWN', 'PDL_PARAMETER_INVALID'];

interface Wanted {
  place: number;
  bytes: number;
  form: Request['form'];
  submission: Submission;
}

export class Intake {
  readonly #pipelines = new Map<string, NonNullable<PipelineView['pipeline']>>();

  constructor(
    private readonly office: Office,
    private readonly status: Status,
    private readonly fallbackPipeline: string | undefined,
    private readonly pace: Pace,
  ) {}

  /** One fate for each message, in order; those that are `taken` are durable. */
  async take(messages: readonly Incoming[]): Promise<Fate[]> {
    const fates: Fate[] = [];
    const wanted = new Map<string, Wanted[]>();
    for (const [place, message] of messages.entries()) {
      try {
        if (message.body.byteLength > groupBytesMax)
          throw new PodlineError('PDL_REQUEST_INVALID', `the message at ${message.place} has more than ${groupBytesMax} bytes`, {
            place: message.place,
            hint: 'Give large sources by address instead of inline.',
          });
        const request = readRequest(message, this.fallbackPipeline);
        const submission = await this.#submission(request);
        const group = wanted.get(request.pipeline);
        const want = { place, bytes: message.body.byteLength, form: request.form, submission };
        if (group === undefined) wanted.set(request.pipeline, [want]);
        else group.push(want);
      } catch (thrown) {
        fates[place] = fateOf(thrown, true);
      }
    }
    for (const [pipeline, wants] of wanted) {
      for (const group of groupsOf(wants)) {
        const told = await this.#submit(pipeline, group);
        for (const [index, want] of group.entries()) fates[want.place] = told[index] ?? fateOf(noAnswer, false);
      }
    }
    for (const { fate } of fates) if (fate === 'refused') this.status.refused += 1;
    return fates;
  }

  async #submit(pipeline: string, wants: readonly Wanted[]): Promise<Fate[]> {
    try {
      const answers = await this.office.submitAll(
        pipeline,
        wants.map((want) => want.submission),
      );
      if (this.pace.isStale(pipeline)) this.pace.heed(pipeline, await this.#paceOf(pipeline));
      return answers.map((answer, index) => {
        if (!isOfOldFormat(answer, wants[index])) return this.#fateOf(answer);
        this.#pipelines.delete(pipeline);
        return { fate: 'later', error: answer.error };
      });
    } catch (thrown) {
      this.#pipelines.delete(pipeline);
      return wants.map(() => fateOf(thrown, false));
    }
  }

  #fateOf(answer: SubmitAnswer): Fate {
    if (answer.outcome === 'rejected') return { fate: answer.error.retry === 'never' ? 'refused' : 'later', error: answer.error };
    const duplicate = answer.outcome === 'duplicate';
    if (duplicate) this.status.duplicates += 1;
    else this.status.taken += 1;
    return { fate: 'taken', duplicate };
  }

  /** What cannot be asked asks for nothing: the requests are in the journal already. */
  async #paceOf(pipeline: string): Promise<PaceView | undefined> {
    const view = await this.office.pipeline(pipeline).catch(() => undefined);
    return view?.pace;
  }

  async #submission(request: Request): Promise<Submission> {
    if (request.form === 'submission') return request.submission;
    let pipeline = this.#pipelines.get(request.pipeline);
    if (pipeline === undefined) {
      const view = await this.office.pipeline(request.pipeline);
      if (view.pipeline === undefined) throw noAnswer;
      pipeline = view.pipeline;
      if (this.#pipelines.size >= pipelinesMax) this.#pipelines.clear();
      this.#pipelines.set(request.pipeline, pipeline);
    }
    return submissionOf(request, pipeline);
  }
}

type Rejected = Extract<SubmitAnswer, { outcome: 'rejected' }>;

/** Simple words name no format: it is ours that is out of date, because the pipeline was applied anew. */
const isOfOldFormat = (answer: SubmitAnswer, want: Wanted | undefined): answer is Rejected =>
  answer.outcome === 'rejected' && answer.error.place === 'source.format' && want?.form === 'request';

const noAnswer = new PodlineError('PDL_PROTOCOL', 'the coordinator left a submission without an answer', { retry: 'later' });

function fateOf(thrown: unknown, reading: boolean): Fate {
  const error = PodlineError.from(thrown);
  const codes: readonly ErrorCode[] = reading ? [...aboutTheRequest, 'PDL_REQUEST_INVALID'] : aboutTheRequest;
  return { fate: isPodlineError(thrown) && codes.includes(error.code) ? 'refused' : 'later', error: error.toWire() };
}

function* groupsOf(wants: readonly Wanted[]): Generator<Wanted[], void, undefined> {
  let group: Wanted[] = [];
  let bytes = 0;
  for (const want of wants) {
    if (group.length > 0 && (group.length >= groupMax || bytes + want.bytes > groupBytesMax)) {
      yield group;
      group = [];
      bytes = 0;
    }
    group.push(want);
    bytes += want.bytes;
  }
  if (group.length > 0) yield group;
}
