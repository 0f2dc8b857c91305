/** A run that is gone on with must be the same run: what was submitted under a key is not quietly replaced by something else. */
import { isDeepStrictEqual } from 'node:util';
import type { SubmissionInput } from '../api/client.js';
import { PodlineError } from '../contracts/errors.js';
import type { Shard } from '../contracts/shard.js';

/** Throws PDL_RUN_UNFINISHED when the shard was submitted from another source, another part of it, or with other parameters. */
export function checkSameShard(submission: SubmissionInput, shard: Pick<Shard, 'key' | 'source' | 'parameters'>): void {
  const change = changeOf(submission, shard);
  if (change === undefined) return;
  throw new PodlineError('PDL_RUN_UNFINISHED', `${shard.key} is not what the unfinished run was given: ${change}`, {
    place: shard.key,
    hint: 'Go on with the same input and parameters, or give the run up with `podline clean` and start anew.',
  });
}

function changeOf({ source, parameters = {} }: SubmissionInput, shard: Pick<Shard, 'source' | 'parameters'>): string | undefined {
  const before = shard.source;
  if ('uri' in source && 'uri' in before && source.identity !== before.identity) {
    return `the source ${before.uri} was (${before.identity ?? 'unknown'}) and is (${source.identity ?? 'unknown'})`;
  }
  if (!isDeepStrictEqual(plain(source), plain(before))) return 'its source is read or split in another way';
  for (const [name, value] of Object.entries(parameters)) {
    const given = shard.parameters[name];
    if (given !== value) {
      const before = given === undefined ? 'not given' : JSON.stringify(given);
      return `the parameter ${name} was ${before} and is ${JSON.stringify(value)}`;
    }
  }
  return undefined;
}

/** Without what is undefined, as it comes back from the journal. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
