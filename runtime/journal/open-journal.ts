/** Which journal: by its address. */
import type { Journal } from './journal.js';
import { openLmdbJournal } from './lmdb/lmdb-journal.js';
import type { Retention } from './retention.js';

export interface OpenJournalOptions {
  retention?: Partial<Retention> | undefined;
  /** What ids of shards begin with. Only used when the journal is made. */
  idPrefix?: string | undefined;
}

export const isPostgresAddress = (address: string): boolean => /^postgres(ql)?:\/\//.test(address);

/**
 * `postgres://…`: a database that several coordinators may share; it opens as a reader until `takeTerm`. `lmdb:<folder>`, or a
 * folder alone: on local disk, for one coordinator. Throws PDL_JOURNAL, PDL_USAGE.
 */
export async function openJournal(address: string, options: OpenJournalOptions = {}): Promise<Journal> {
  if (!isPostgresAddress(address)) return openLmdbJournal({ dir: address.replace(/^lmdb:/, ''), ...options });
  const { openPostgresJournal } = await import('./postgres/postgres-journal.js');
  return openPostgresJournal({ url: address, ...options });
}
