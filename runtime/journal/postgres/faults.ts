/** What went wrong with the database, by what may be done about it. */
import { PodlineError, isPodlineError } from '../../contracts/errors.js';

export interface Fault {
  /**
   * lost: the connection is gone, or the server is going down; what was asked may have been done, and may be tried again.
   * busy: the database took it back, or never took it; it may be tried again.
   * notLeader: another coordinator took a newer term.
   * data: the database refuses what it was given.
   * other: it will not get better by itself at once.
   */
  kind: 'lost' | 'busy' | 'notLeader' | 'data' | 'other';
  error: PodlineError;
}

/** Worth another try in a moment. */
export const isPassing = ({ kind }: Fault): boolean => kind === 'lost' || kind === 'busy';

/** Of postgres.js, and of node's sockets. */
const lostCodes = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
  'CONNECT_TIMEOUT',
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOENT',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

export function faultOf(thrown: unknown): Fault {
  if (isPodlineError(thrown)) return { kind: thrown.code === 'PDL_NOT_LEADER' ? 'notLeader' : 'other', error: thrown };
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const error = (what: string, hint: string): PodlineError =>
    new PodlineError('PDL_JOURNAL', `${what}: ${message}${code === '' ? '' : ` (${code})`}`, { hint, cause: thrown });
  if (code === 'PDL01') return { kind: 'notLeader', error: new PodlineError('PDL_NOT_LEADER', message) };
  // 40: serialisation, deadlock. 53300: too many clients.
  if (/^(40...|53300)$/.test(code))
    return { kind: 'busy', error: error('the database is busy', 'Look at who else uses the PostgreSQL server.') };
  // Class 08: connection. 57P01 to 57P03: the server is stopped or starts.
  if (lostCodes.has(code) || /^(08...|57P0[1-3])$/.test(code))
    return { kind: 'lost', error: error('the database does not answer', 'Look at the PostgreSQL server and the way to it.') };
  // Classes 22 and 23: data and constraints.
  if (/^2[23]/.test(code)) return { kind: 'data', error: error('the database refused a record', 'Report it with the message.') };
  return {
    kind: 'other',
    error: error('the database failed', 'Look at the log of the PostgreSQL server, its disk and its limits.'),
  };
}
