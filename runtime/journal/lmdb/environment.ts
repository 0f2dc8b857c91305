/**
 * The LMDB environment of a journal. The only file of the journal that opens lmdb.
 *
 * Invariants
 *  1. One process opens it at a time, the holder of the work directory's lock: what ADR 11 tells of (LMDB forgets a commit that
 *     another process makes while one opens) cannot come about. The threads of a process share what the first of them has opened.
 *  2. No thread is ended while it opens it or is within a transaction (`platform/uninterrupted.ts`).
 */
import { TransactionFlags, open } from 'lmdb';
import { PodlineError } from '../../contracts/errors.js';
import { uninterrupted } from '../../platform/uninterrupted.js';
import type { LeaderRecord } from '../journal.js';
import { newNumbers, type Numbers } from '../tables.js';
import { layoutVersion, openStores, type Stores } from './layout.js';

/** Aborted as a whole by what it throws; committed and synced when it returns. */
const wholeAndSynced = TransactionFlags.ABORTABLE | TransactionFlags.SYNCHRONOUS_COMMIT;

export class Environment {
  readonly stores: Stores;
  readonly #root: ReturnType<typeof open>;

  /** Throws PDL_JOURNAL when its layout is another's. `idPrefix`: of a journal that is made. */
  constructor(
    readonly dir: string,
    idPrefix: string,
  ) {
    const opened = uninterrupted(() => {
      const root = open({ path: dir, maxDbs: 16, noSubdir: false, overlappingSync: false });
      return { root, stores: openStores(root) };
    });
    this.#root = opened.root;
    this.stores = opened.stores;
    const version = this.stores.meta.get('version') as number | undefined;
    if (version !== undefined && version !== layoutVersion) {
      void this.#root.close();
      throw new PodlineError(
        'PDL_JOURNAL',
        `the journal in ${dir} has layout ${String(version)}; this Podline writes ${String(layoutVersion)}`,
        { hint: 'Use the Podline that wrote it, or another work directory.', retry: 'never' },
      );
    }
    if (version === layoutVersion) return;
    this.transact(() => {
      this.stores.meta.putSync('version', layoutVersion);
      this.stores.meta.putSync('numbers', newNumbers(idPrefix));
    });
  }

  /** On disk when it returns. */
  transact<T>(run: () => T): T {
    // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- flags are summed, which lmdb's enum type does not say
    return uninterrupted(() => this.#root.transactionSync(run, wholeAndSynced));
  }

  /** What other threads and processes have committed is seen from here on; within a turn of the event loop reads are else of one snapshot. */
  refresh(): void {
    this.#root.resetReadTxn();
  }

  /** Of what is settled. */
  numbers(): Numbers {
    const numbers = this.stores.meta.get('numbers') as Numbers | undefined;
    if (numbers === undefined) throw new PodlineError('PDL_JOURNAL', `the journal in ${this.dir} has lost its numbers`);
    return numbers;
  }

  /** Who took the newest term, as of now. */
  leader(): LeaderRecord | undefined {
    this.refresh();
    return this.stores.meta.get('leader') as LeaderRecord | undefined;
  }

  async close(): Promise<void> {
    await this.#root.close();
  }
}
