/** Submissions against the journal: which may go there, and what its outcomes mean to who submitted. */
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

/** Throws PDL_REQUEST_INVALID. */
export function checkBatch(count: number, max: number): void {
  if (count <= max) return;
  const message = `${String(count)} submissions at once; at most ${String(max)}`;
  throw new PodlineError('PDL_REQUEST_INVALID', message, { hint: 'Send them as a stream of NDJSON.' });
}

export function sortSubmissions(pipeline: Pipeline, submissions: readonly Submission[], keyBytesMax: number): SortedSubmissions {
  const sorted: SortedSubmissions = { shards: [], places: [], answers: [] };
  submissions.forEach((submission, place) => {
    try {
      sorted.shards.push(toNewShard(pipeline, submission, keyBytesMax));
      sorted.places.push(place);
    } catch (thrown) {
      sorted.answers[place] = { outcome: 'rejected', key: submission.key, error: PodlineError.from(thrown).toWire() };
    }
  });
  return sorted;
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
