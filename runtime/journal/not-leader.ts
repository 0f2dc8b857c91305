/** What a journal says to a writer that is not, or no longer, the one. */
import { PodlineError } from '../contracts/errors.js';
import type { LeaderRecord } from './journal.js';

/** `place` is the address of the leader, where it is known: a client goes on there. */
export function notLeader(leader: LeaderRecord | undefined, ownTerm: number | undefined): PodlineError {
  const own = ownTerm === undefined || ownTerm === 0 ? 'this coordinator never led' : `its term was ${String(ownTerm)}`;
  const now = leader === undefined ? 'nobody leads' : `the journal is in term ${String(leader.term)}`;
  return new PodlineError('PDL_NOT_LEADER', `another coordinator writes this journal: ${now}, ${own}`, {
    ...(leader?.address === undefined ? {} : { place: leader.address }),
  });
}
