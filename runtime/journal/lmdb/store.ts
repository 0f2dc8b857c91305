/**
 * The LMDB environment of a journal and its group commit. The only file of the journal that opens lmdb.
 *
 * Transitions that wait are run one after another in one write transaction, which is on disk when it ends; then all of them are
 * answered. While a group is answered the next one gathers: 64 clients share their commits. The main thread waits for the disk:
 * in lmdb 3.5.6 a synchronous transaction always does, whatever its flags say (seen with strace), and waiting elsewhere
 * would cost a second commit.
 *
 * Invariants
 *  1. A transition is answered after its commit is on disk, and never when it is not.
 *  2. A transition that throws before it has written harms nobody else of its group; one that throws after that
 *     aborts the whole group, because LMDB's transaction is the group's.
 *  3. The number of transitions that wait is bounded: beyond it PDL_JOURNAL is thrown at once.
 *  4. Each group checks the term of its writer in its transaction: who was the writer under an older one writes nothing.
 */
import { TransactionFlags, open, type RootDatabase } from 'lmdb';
import { PodlineError } from '../../contracts/errors.js';
import type { PodlineEvent } from '../../contracts/events.js';
import { groupMax, requireRoom, runGroup, type Waiting } from '../group.js';
import type { LeaderRecord } from '../journal.js';
import { notLeader } from '../not-leader.js';
import type { Retention } from '../retention.js';
import { newNumbers, type Numbers } from '../tables.js';
import { Transition } from '../transition.js';
import { layoutVersion, openStores, type Stores } from './layout.js';
import { LmdbTables } from './lmdb-tables.js';
import { Recent } from './recent.js';

/** One transaction for the group: it may be aborted, and is committed and synced at once. */
const groupFlags = TransactionFlags.ABORTABLE | TransactionFlags.SYNCHRONOUS_COMMIT;

export interface StoreOptions {
  retention: Retention;
  idPrefix: string;
  onEvents: (events: readonly PodlineEvent[]) => void;
}

export class Store {
  readonly stores: Stores;
  /** For reads outside of transactions. */
  readonly reads: LmdbTables;
  readonly #root: RootDatabase;
  readonly #recent = new Recent();
  #waiting: Waiting[] = [];
  #committing: Promise<void> | undefined;
  #closed: Promise<void> | undefined;
  /** Under which this store writes. */
  #term = 0;

  constructor(
    readonly dir: string,
    private readonly options: StoreOptions,
  ) {
    this.#root = open({ path: dir, maxDbs: 16, noSubdir: false, overlappingSync: false });
    this.stores = openStores(this.#root);
    const version = this.stores.meta.get('version') as number | undefined;
    if (version !== undefined && version !== layoutVersion) {
      void this.#root.close();
      throw new PodlineError(
        'PDL_JOURNAL',
        `the journal in ${dir} has layout ${String(version)}; this Podline writes ${String(layoutVersion)}`,
        { hint: 'Use the Podline that wrote it, or another work directory.', retry: 'never' },
      );
    }
    if (version === undefined) {
      this.#root.transactionSync(() => {
        this.stores.meta.putSync('version', layoutVersion);
        this.stores.meta.putSync('numbers', newNumbers(options.idPrefix));
      });
    }
    this.reads = new LmdbTables(this.stores, this.numbers());
  }

  /** Of the last group that is durable. */
  numbers(): Numbers {
    const numbers = this.stores.meta.get('numbers') as Numbers | undefined;
    if (numbers === undefined) throw new PodlineError('PDL_JOURNAL', `the journal in ${this.dir} has lost its numbers`);
    return numbers;
  }

  /** Who took the newest term. */
  leader(): LeaderRecord | undefined {
    // Another process may have written it: what was read in this turn of the event loop is a snapshot.
    this.#root.resetReadTxn();
    return this.stores.meta.get('leader') as LeaderRecord | undefined;
  }

  /** From here on this store writes, and who wrote before no longer does. */
  takeTerm(address: string | undefined): number {
    return this.#root.transactionSync(() => {
      const numbers = this.numbers();
      numbers.term += 1;
      const leader: LeaderRecord = { term: numbers.term, ...(address === undefined ? {} : { address }) };
      this.stores.meta.putSync('numbers', numbers);
      this.stores.meta.putSync('leader', leader);
      this.#term = numbers.term;
      this.#recent.clear();
      return numbers.term;
    });
  }

  /** Runs a transition with the group that is next; resolves once that is on disk. */
  transact<T>(nowMs: number, run: (transition: Transition) => T): Promise<T> {
    if (this.#closed !== undefined)
      return Promise.reject(new PodlineError('PDL_JOURNAL', `the journal in ${this.dir} is closed`, { retry: 'never' }));
    return new Promise<T>((resolve, reject) => {
      requireRoom(this.#waiting, 'the disk', 'Submit more slowly, or put the work directory on a faster disk.');
      this.#waiting.push({ run, nowMs, resolve: resolve as (value: unknown) => void, reject });
      this.#committing ??= this.#commitAll();
    });
  }

  async #commitAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      // Whoever asks in this turn of the event loop shares the commit.
      await new Promise((resolve) => setImmediate(resolve));
      const group = this.#waiting.splice(0, groupMax);
      try {
        this.#commit(group);
      } catch (thrown) {
        this.#recent.clear();
        const error = PodlineError.from(thrown, 'PDL_JOURNAL', { place: this.dir });
        for (const { reject } of group) reject(error);
      }
    }
    // In the turn of the last look: whoever comes after it begins anew.
    this.#committing = undefined;
  }

  #commit(group: readonly Waiting[]): void {
    let settled: (() => void)[] = [];
    let events: readonly PodlineEvent[] = [];
    this.#root.transactionSync(() => {
      const numbers = this.numbers();
      if (numbers.term !== this.#term) throw notLeader(this.leader(), this.#term);
      const transition = new Transition(new LmdbTables(this.stores, numbers, this.#recent), this.options.retention);
      settled = runGroup(transition, group);
      events = transition.finish();
      if (transition.writes > 0) this.stores.meta.putSync('numbers', numbers);
      // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- flags are summed, which lmdb's enum type does not say
    }, groupFlags);
    for (const settle of settled) settle();
    if (events.length > 0) this.options.onEvents(events);
  }

  /** Waits for the transitions that wait. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      await this.#committing;
      await this.#root.close();
    })();
    return this.#closed;
  }
}
