/**
 * Group commit over a log and LMDB.
 *
 * Transitions that wait are run one after another in memory, over what is known (`Logged`); what they changed is one record of the
 * log, written and synced; then all of them are answered. While a group is answered the next one gathers: 64 clients share their
 * syncs. What is logged is settled in LMDB later, many groups at once, by another thread: a shard that came and went meanwhile
 * is written there once.
 *
 * Invariants
 *  1. A transition is answered after its group is on disk, and never when it is not.
 *  2. A transition that throws before it has written harms nobody else of its group; one that throws after that ends the
 *     whole group, of which nothing stays.
 *  3. The number of transitions that wait is bounded: beyond it PDL_JOURNAL is thrown at once. So is what is logged and not settled:
 *     beyond it, groups wait for the disk.
 *  4. A group is answered only if its writer still has the newest term after the sync. Who takes a term makes it known first and
 *     reads the log then: what it does not read was not answered.
 *  5. Files of a log are removed when all they say is in LMDB; LMDB counts on by one group, so what is late is passed over.
 */
import { PodlineError } from '../../contracts/errors.js';
import type { LeaderRecord } from '../journal.js';
import type { PodlineEvent } from '../../contracts/events.js';
import { groupMax, requireRoom, runGroup, type Waiting } from '../group.js';
import { notLeader } from '../not-leader.js';
import type { Retention } from '../retention.js';
import { Transition } from '../transition.js';
import { Environment } from './environment.js';
import { GroupTables } from './group-tables.js';
import { Log, logFiles, removeLogs } from './log.js';
import { Logged } from './logged.js';
import { settleFile, settleLeft, type WholeFile } from './settle.js';
import { Settler } from './settler.js';

/** Of the log, before it is settled; twice as much before groups wait for that. */
export const defaultSettleAtBytes = 4 * 1024 * 1024;
/** What is settled here and at once when somebody wants to see it, rather than by a thread: no more than a group takes. */
const settledHereBytesMax = 64 * 1024;

export interface StoreOptions {
  retention: Retention;
  idPrefix: string;
  settleAtBytes: number;
  onEvents: (events: readonly PodlineEvent[]) => void;
}

export class Store {
  readonly environment: Environment;
  readonly #settler: Settler;
  #logged: Logged;
  #log: Log | undefined;
  #waiting: Waiting[] = [];
  #committing: Promise<void> | undefined;
  /** The file of the log that is being settled, or was to be. */
  #whole: WholeFile | undefined;
  #settling: Promise<void> | undefined;
  #closed: Promise<void> | undefined;
  /** Under which this store writes. */
  #term = 0;

  constructor(
    readonly dir: string,
    private readonly options: StoreOptions,
  ) {
    this.environment = new Environment(dir, options.idPrefix);
    this.#settler = new Settler(dir);
    this.#logged = new Logged(this.environment);
  }

  /** What is durable, as of now. */
  get logged(): Logged {
    return this.#logged;
  }

  leader(): LeaderRecord | undefined {
    return this.environment.leader();
  }

  /** From here on this store writes, and who wrote before no longer does. What that one has logged is settled. */
  takeTerm(address: string | undefined): number {
    const { environment, dir } = this;
    const { stores } = environment;
    this.#log?.close();
    const term = environment.transact(() => {
      const numbers = environment.numbers();
      numbers.term += 1;
      const leader: LeaderRecord = { term: numbers.term, ...(address === undefined ? {} : { address }) };
      stores.meta.putSync('numbers', numbers);
      stores.meta.putSync('leader', leader);
      return numbers.term;
    });
    const files = logFiles(dir);
    settleLeft(environment, files);
    removeLogs(dir, files);
    this.#log = new Log(dir, term);
    this.#logged = new Logged(environment);
    this.#whole = undefined;
    this.#settling = undefined;
    this.#term = term;
    return term;
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

  /**
   * All that is answered so far is in LMDB when it resolves, unless another one writes by now. `hereBytesMax`: so much of the log is
   * settled here and at once, more of it by the thread.
   */
  async settle(hereBytesMax = settledHereBytesMax): Promise<void> {
    // Others who waited may have turned the log meanwhile.
    while (this.#whole !== undefined) await this.#settleWhole(this.#whole);
    const log = this.#log;
    if (log === undefined || log.bytes === 0) return;
    const isSmall = log.bytes <= hereBytesMax;
    const file = this.#turn(log);
    if (!isSmall) return this.#settleWhole(file);
    settleFile(this.environment, file);
    this.#seeSettled(this.#logged);
  }

  /** Waits for the transitions that wait. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      await this.#committing;
      try {
        await this.settle(Number.POSITIVE_INFINITY);
        const files = logFiles(this.dir).filter((file) => this.#log?.files.includes(file));
        removeLogs(this.dir, files);
      } catch {
        // What is in the log stays there, and is settled by whoever opens the journal next.
      } finally {
        await this.#settler.close();
        this.#log?.close();
        await this.environment.close();
      }
    })();
    return this.#closed;
  }

  async #commitAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      // Whoever asks in this turn of the event loop shares the commit.
      await new Promise((resolve) => setImmediate(resolve));
      const group = this.#waiting.splice(0, groupMax);
      try {
        await this.#makeRoom();
        this.#commit(group);
      } catch (thrown) {
        const error = PodlineError.from(thrown, 'PDL_JOURNAL', { place: this.dir });
        for (const { reject } of group) reject(error);
      }
    }
    // In the turn of the last look: whoever comes after it begins anew.
    this.#committing = undefined;
  }

  #commit(group: readonly Waiting[]): void {
    const [logged, log] = [this.#logged, this.#log];
    if (log?.hasBrokenOff !== false) this.#requireTerm();
    const tables = new GroupTables(logged);
    const transition = new Transition(tables, this.options.retention);
    let answers: (() => void)[];
    let events: readonly PodlineEvent[];
    try {
      answers = runGroup(transition, group);
      events = transition.finish();
      if (transition.writes > 0) log?.append(tables.numbers.commits, tables.encode());
      this.#requireTerm(log);
    } catch (thrown) {
      logged.forgetFronts();
      throw thrown;
    }
    if (transition.writes > 0) logged.take(tables.layer, tables.numbers);
    for (const answer of answers) answer();
    if (events.length > 0) this.options.onEvents(events);
  }

  /** Throws PDL_NOT_LEADER, as of now. `log`: what was appended to it is not answered then. */
  #requireTerm(log?: Log): void {
    try {
      const leader = this.leader();
      if (leader?.term !== this.#term) throw notLeader(leader, this.#term);
    } catch (thrown) {
      log?.breakOff(thrown);
      throw thrown;
    }
  }

  /** Begins to settle what the log has in good time, and waits only when the disk is far behind. */
  async #makeRoom(): Promise<void> {
    const log = this.#log;
    const { settleAtBytes } = this.options;
    if (log === undefined || log.bytes < settleAtBytes) return;
    if (this.#whole !== undefined) {
      if (this.#settling !== undefined && log.bytes < 2 * settleAtBytes) return;
      await this.#settleWhole(this.#whole);
    }
    // Tried again when the next file is whole; who waits for it then hears why it did not go.
    this.#settleWhole(this.#turn(log)).catch(() => undefined);
  }

  /** What is logged from here on goes into the other file, and into another layer. Answers the file that is whole. */
  #turn(log: Log): WholeFile {
    const { lastCommit: commit } = log;
    this.#logged.beginToSettle();
    return (this.#whole = { path: log.turn(), term: this.#term, commit });
  }

  /** By the thread. */
  #settleWhole(file: WholeFile): Promise<void> {
    const logged = this.#logged;
    return (this.#settling ??= this.#settler
      .settle(file)
      .then(() => this.#seeSettled(logged))
      .finally(() => {
        if (this.#logged === logged) this.#settling = undefined;
      }));
  }

  #seeSettled(logged: Logged): void {
    this.environment.refresh();
    logged.settled();
    if (this.#logged === logged) this.#whole = undefined;
  }
}
