/**
 * The LMDB environment of a journal and its group commit. The only file of the journal that knows lmdb.
 *
 * Transitions that wait are run one after another in one synchronous write transaction, which is cheap because it does
 * not wait for the disk; then the disk is waited for in lmdb's own thread, once for all of them, and only then are they
 * answered. While the disk works the next group gathers: 64 clients share their commits.
 *
 * Invariants
 *  1. A transition is answered after its commit is on disk, and never when it is not.
 *  2. A transition that throws before it has written harms nobody else of its group; one that throws after that
 *     aborts the whole group, because LMDB's transaction is the group's.
 *  3. The number of transitions that wait is bounded: beyond it PDL_JOURNAL is thrown at once.
 *  4. Events become visible to `durableEvents` with the group that they are durable with.
 */
import { TransactionFlags, open, type Database, type RootDatabase } from 'lmdb';
import { PodlineError, isPodlineError } from '../../contracts/errors.js';
import type { PodlineEvent } from '../../contracts/events.js';
import type { PipelineRecord } from '../journal.js';
import { Transition, type CountsRecord } from './transition.js';
import type { BodyRecord, IndexKey, OutcomeRecord, StateRecord } from './records.js';

export interface Tables {
  meta: Database<string | number, string>;
  pipelines: Database<PipelineRecord, string>;
  counts: Database<CountsRecord, string>;
  bodies: Database<BodyRecord, string>;
  states: Database<StateRecord, string>;
  outcomes: Database<OutcomeRecord, string>;
  index: Database<string, IndexKey>;
  events: Database<PodlineEvent, number>;
}

/** One transaction for the group: it may be aborted, is committed at once, and does not wait for the disk. */
const groupFlags = TransactionFlags.ABORTABLE | TransactionFlags.SYNCHRONOUS_COMMIT | TransactionFlags.NO_SYNC_FLUSH;
const groupMax = 1_024;
const waitingMax = 65_536;
const layoutVersion = 2;

interface Waiting {
  run: (transition: Transition) => unknown;
  nowMs: number;
  resolve: (value: unknown) => void;
  reject: (error: PodlineError) => void;
}

export class Store {
  readonly tables: Tables;
  readonly #root: RootDatabase;
  #waiting: Waiting[] = [];
  #committing: Promise<void> | undefined;
  #closed: Promise<void> | undefined;
  /** The last event that is on disk. */
  durableEventId: number;

  constructor(
    readonly dir: string,
    private readonly options: { eventsKept: number; idPrefix: string; onEvents: (events: readonly PodlineEvent[]) => void },
  ) {
    this.#root = open({ path: dir, maxDbs: 16, noSubdir: false, overlappingSync: true });
    const table = <V, K extends string | number | IndexKey>(name: string): Database<V, K> =>
      this.#root.openDB<V, K>(name, { encoding: 'msgpack', cache: false });
    this.tables = {
      meta: table('meta'),
      pipelines: table('pipelines'),
      counts: table('counts'),
      bodies: table('bodies'),
      states: table('states'),
      outcomes: table('outcomes'),
      index: table('index'),
      events: table('events'),
    };
    const { meta } = this.tables;
    const version = meta.get('version');
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
        meta.putSync('version', layoutVersion);
        meta.putSync('idPrefix', options.idPrefix);
      });
    }
    this.durableEventId = Number(meta.get('lastEventId') ?? 0);
  }

  /** Runs a transition with the group that is next; resolves once that is on disk. */
  transact<T>(nowMs: number, run: (transition: Transition) => T): Promise<T> {
    if (this.#closed !== undefined)
      return Promise.reject(new PodlineError('PDL_JOURNAL', `the journal in ${this.dir} is closed`, { retry: 'never' }));
    if (this.#waiting.length >= waitingMax) {
      return Promise.reject(
        new PodlineError('PDL_JOURNAL', `${String(waitingMax)} transitions wait for the disk`, {
          hint: 'Submit more slowly, or put the work directory on a faster disk.',
        }),
      );
    }
    return new Promise<T>((resolve, reject) => {
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
        await this.#commit(group);
      } catch (thrown) {
        const error = PodlineError.from(thrown, 'PDL_JOURNAL', { place: this.dir });
        for (const { reject } of group) reject(error);
      }
    }
    // In the turn of the last look: whoever comes after it begins anew.
    this.#committing = undefined;
  }

  async #commit(group: readonly Waiting[]): Promise<void> {
    const { meta } = this.tables;
    const settled: (() => void)[] = [];
    let events: readonly PodlineEvent[] = [];
    let writes = 0 as number;
    this.#root.transactionSync(() => {
      const transition = new Transition(this.tables);
      for (const { run, nowMs, resolve, reject } of group) {
        const before = transition.writes;
        try {
          const value = run(transition.at(nowMs));
          settled.push(() => {
            resolve(value);
          });
        } catch (thrown) {
          if (transition.writes !== before || !isPodlineError(thrown)) throw thrown;
          settled.push(() => {
            reject(thrown);
          });
        }
      }
      events = transition.finish(this.options.eventsKept);
      writes = transition.writes;
      // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- flags are summed, which lmdb's enum type does not say
    }, groupFlags);
    if (writes > 0) {
      await meta.put('commits', Number(meta.get('commits') ?? 0) + 1);
      await this.#root.flushed;
    }
    const last = events.at(-1);
    if (last !== undefined) this.durableEventId = last.id;
    for (const settle of settled) settle();
    if (events.length > 0) this.options.onEvents(events);
  }

  /** Waits for the transitions that wait. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      await this.#committing;
      await this.#root.flushed;
      await this.#root.close();
    })();
    return this.#closed;
  }
}
