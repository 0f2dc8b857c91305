/** From the address of a database to what a connection is opened with. */
import { PodlineError } from '../../contracts/errors.js';

/** In ms, as the server takes them. */
interface Timeouts {
  statement_timeout: number;
  lock_timeout: number;
  idle_in_transaction_session_timeout: number;
}

export interface Connection {
  url: string;
  /** A folder with the server's unix socket. */
  host: string | undefined;
  schema: string;
  /** On which events are told. */
  channel: string;
  settings: { application_name: string; search_path: string; synchronous_commit: string } & Timeouts;
}

/** No statement of the journal takes long; one that does holds others up. */
export const statementTimeoutMs = 30_000;

/** Throws PDL_USAGE. */
export function connectionOf(text: string): Connection {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new PodlineError('PDL_USAGE', 'the address of the database is not a URL', {
      hint: 'Write postgres://user@host:5432/database?schema=podline.',
    });
  }
  const schema = url.searchParams.get('schema') ?? 'podline';
  if (!/^[a-z_][a-z0-9_]{0,40}$/.test(schema))
    throw new PodlineError('PDL_USAGE', `${schema} is not the name of a schema`, {
      hint: 'Use lower-case letters, digits and underscores, at most 41.',
    });
  const host = url.searchParams.get('host') ?? undefined;
  url.searchParams.delete('schema');
  url.searchParams.delete('host');
  return {
    url: url.href,
    host,
    schema,
    channel: `podline_${schema}`,
    settings: {
      application_name: 'podline',
      search_path: schema,
      // Whatever the server's default: an answer means that the commit is on disk.
      synchronous_commit: 'on',
      statement_timeout: statementTimeoutMs,
      lock_timeout: statementTimeoutMs / 3,
      idle_in_transaction_session_timeout: 5_000,
    },
  };
}
