/** What went wrong with the database, by what may be done about it. */
import { PodlineError, isPodlineError } from '../../contracts/errors.js';

export interface Fault {
  /**
   * lost: the connection is gone, or the server is going down; it may be tried again.
   * notLeader: another coordinator took a newer term.
   * data: the database refuses what it was given.
   * other: it will not get better by itself at once.
   */
  kind: 'lost' | 'notLeader' | 'data' | 'other';
  error: PodlineError;
}

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
  // Class 08: connection. 57P01 to 57P03: the server is stopped or starts. 40: serialisation, deadlock. 53300: too many clients.
  if (lostCodes.has(code) || /^(08...|57P0[1-3]|40...|53300)$/.test(code))
    return { kind: 'lost', error: error('the database does not answer', 'Look at the PostgreSQL server and the way to it.') };
  // Classes 22 and 23: data and constraints.
  if (/^2[23]/.test(code)) return { kind: 'data', error: error('the database refused a record', 'Report it with the message.') };
  return {
    kind: 'other',
    error: error('the database failed', 'Look at the log of the PostgreSQL server, its disk and its limits.'),
  };
}
