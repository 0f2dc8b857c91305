/** Submissions against the journal: which may go there, and what its outcomes mean to who submitted. */
import { forbidden, whyNotUrl } from '../access/places.js';
import { requireUnder } from '../access/real-path.js';
import type { Addresses, Allowed } from '../contracts/access.js';
import { PodlineError } from '../contracts/errors.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { Submission, SubmitAnswer } from '../contracts/shard.js';
import type { NewShard, SubmitOutcome } from '../journal/journal.js';
import { toNewShard } from './rules.js';

export interface SortedSubmissions {
  /** Those that fit the pipeline, as the journal takes them. */
  shards: NewShard[];
  /** Where each of them stood among the submissions. */
  places: number[];
  /** At their places, the answers to those that do not fit; the others are still to come. */
  answers: SubmitAnswer[];
}

export interface SubmissionBounds {
  limits: { submitBatchMax: number; keyBytesMax: number };
  /** Everywhere without it. */
  allowed: Allowed | undefined;
  /** Nowhere without it. */
  callbacks: Addresses | undefined;
}

/** Throws PDL_REQUEST_INVALID when there are too many at once. */
export async function sortSubmissions(
  pipeline: Pipeline,
  submissions: readonly Submission[],
  bounds: SubmissionBounds,
): Promise<SortedSubmissions> {
  const { submitBatchMax, keyBytesMax } = bounds.limits;
  if (submissions.length > submitBatchMax) {
    const message = `${String(submissions.length)} submissions at once; at most ${String(submitBatchMax)}`;
    throw new PodlineError('PDL_REQUEST_INVALID', message, { hint: 'Send them as a stream of NDJSON.' });
  }
  const sorted: SortedSubmissions = { shards: [], places: [], answers: [] };
  submissions.forEach((submission, place) => {
    try {
      sorted.shards.push(toNewShard(pipeline, submission, keyBytesMax));
      sorted.places.push(place);
    } catch (thrown) {
      sorted.answers[place] = { outcome: 'rejected', key: submission.key, error: PodlineError.from(thrown).toWire() };
    }
  });
  const isBounded = bounds.allowed !== undefined || sorted.shards.some(({ callback }) => callback !== undefined);
  return isBounded ? withinAllowed(sorted, bounds) : sorted;
}

/** Those whose source, result directory or callback lies where it may not are rejected too, symlinks resolved. The line looks once more. */
async function withinAllowed(sorted: SortedSubmissions, bounds: SubmissionBounds): Promise<SortedSubmissions> {
  const { shards, places, answers } = sorted;
  const within: SortedSubmissions = { shards: [], places: [], answers };
  const faults = await Promise.all(shards.map((shard) => faultOf(shard, bounds)));
  for (const [index, shard] of shards.entries()) {
    const [fault, place = 0] = [faults[index], places[index]];
    if (fault === undefined) {
      within.shards.push(shard);
      within.places.push(place);
    } else {
      answers[place] = { outcome: 'rejected', key: shard.key, error: fault.toWire() };
    }
  }
  return within;
}

async function faultOf(
  { source, resultDir, callback }: NewShard,
  { allowed, callbacks }: SubmissionBounds,
): Promise<PodlineError | undefined> {
  try {
    if (callback !== undefined) requireCallback(callback.url, callbacks);
    if (allowed === undefined) return undefined;
    if ('uri' in source) await requireSource(source.uri, allowed.sources);
    await requireUnder('the result directory', resultDir, allowed.results.roots);
    return undefined;
  } catch (thrown) {
    return PodlineError.from(thrown);
  }
}

async function requireSource(uri: string, allowed: Allowed['sources']): Promise<void> {
  if (!/^https?:\/\//i.test(uri)) {
    await requireUnder('the source', uri, allowed.roots);
    return;
  }
  requireAddress('the source', uri, allowed);
}

/** The webhooks' own rules; the address that the name has is looked at when the notice is sent. */
function requireCallback(uri: string, allowed: Addresses | undefined): void {
  if (allowed !== undefined) requireAddress('the callback', uri, allowed);
  else throw forbidden('the callback', 'http(s)://…', 'this coordinator sends no notices: it has no `webhooks.secret`');
}

function requireAddress(what: string, uri: string, allowed: Addresses): void {
  const url = URL.canParse(uri) ? new URL(uri) : undefined;
  const why = url === undefined ? 'it is no address' : whyNotUrl(url, allowed);
  // Without what may be a secret in it.
  if (why !== undefined) throw forbidden(what, url === undefined ? 'http(s)://…' : `${url.origin}${url.pathname}`, why);
}

export function answerOf(pipeline: string, key: string, outcome: SubmitOutcome): SubmitAnswer {
  switch (outcome.outcome) {
    case 'accepted':
      return { outcome: 'accepted', id: outcome.id, key };
    case 'duplicate': {
      const message = `pipeline ${pipeline} has a shard with the key ${key} already: ${outcome.id}, which is ${outcome.state}`;
      return { outcome: 'duplicate', id: outcome.id, key, message };
    }
    case 'full': {
      const error = new PodlineError('PDL_QUEUE_FULL', `${String(outcome.pending)} shards of pipeline ${pipeline} wait already`);
      return { outcome: 'rejected', key, error: error.toWire() };
    }
  }
}
