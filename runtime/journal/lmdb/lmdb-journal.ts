/** The journal in an LMDB environment and a log on local disk: for one coordinator, which holds the lock of the work directory. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import type { PodlineEvent } from '../../contracts/events.js';
import type { Shard } from '../../contracts/shard.js';
import type { Journal, RunningShard } from '../journal.js';
import { idOf, placesOf } from '../places.js';
import { toShard } from '../records.js';
import { defaultRetention, endedKinds, removalDueMs, type Retention } from '../retention.js';
import { canonicalLine } from '../state-hash.js';
import { noCounts } from '../tables.js';
import { transitionsOf } from '../transitions/index.js';
import { checkIndexes } from './check.js';
import { Disk } from './disk.js';
import { recordOf } from './layout.js';
import type { Logged } from './logged.js';
import { Store, defaultSettleAtBytes } from './store.js';

export interface LmdbJournalOptions {
  /** Made when it is not there. One process at a time: the coordinator's work directory lock sees to that. */
  dir: string;
  retention?: Partial<Retention> | undefined;
  /** What ids of shards begin with: tells shards of this journal from those of another. Only used when the journal is made. */
  idPrefix?: string | undefined;
  /** How much is logged before LMDB gets it. */
  settleAtBytes?: number | undefined;
}

/** Opens a journal and takes its next term. Throws PDL_JOURNAL when its layout is another's. */
export function openLmdbJournal(options: LmdbJournalOptions): Journal {
  mkdirSync(options.dir, { recursive: true, mode: 0o700 });
  const listeners = new Set<(events: readonly PodlineEvent[]) => void>();
  const retention = { ...defaultRetention, ...options.retention };
  const store = new Store(options.dir, {
    retention,
    idPrefix: options.idPrefix ?? randomBytes(3).toString('hex'),
    settleAtBytes: options.settleAtBytes ?? defaultSettleAtBytes,
    onEvents: (events) => {
      for (const listener of listeners) listener(events);
    },
  });
  store.takeTerm(undefined);
  const { environment } = store;
  const { stores } = environment;

  const shardOf = (known: Pick<Logged, 'state' | 'body' | 'outcome'>, id: string, withReport: boolean): Shard | undefined => {
    const [state, body] = [known.state(id), known.body(id)];
    return body === undefined || state === undefined ? undefined : toShard(id, body, state, known.outcome(id), withReport);
  };
  /** The disk, with all that was answered: for what is found in an order that memory does not keep. */
  const settledDisk = async (): Promise<Disk> => {
    await store.settle();
    environment.refresh();
    return new Disk(stores, environment.numbers());
  };

  return {
    clockMs: async () => store.logged.numbers.clockMs,
    takeTerm: async (address) => store.takeTerm(address),
    leader: async () => store.leader(),

    ...transitionsOf((nowMs, run) => store.transact(nowMs, run)),
    pipeline: async (name) => store.logged.pipelines.get(name),
    pipelines: async () => [...store.logged.pipelines.values()].sort((a, b) => (a.pipeline.name < b.pipeline.name ? -1 : 1)),

    nextDueMs: async () => {
      const { logged } = store;
      const first = ([due]: readonly [ms: number, id: string][]): number | undefined => due?.[0];
      const due = endedKinds.map((kind) =>
        removalDueMs(retention, kind, logged.numbers, first(logged.ended(kind, Number.POSITIVE_INFINITY, 1))),
      );
      const known = [...due, first(logged.due(Number.POSITIVE_INFINITY, 1))].filter((ms) => ms !== undefined);
      return known.length === 0 ? undefined : Math.min(...known);
    },

    shard: async (id) => shardOf(store.logged, id, true),
    shardByKey: async (pipeline, key) => {
      const id = store.logged.idOf(pipeline, key);
      return id === undefined ? undefined : shardOf(store.logged, id, true);
    },
    list: async ({ pipeline, state, cursor, max }) => {
      const disk = await settledDisk();
      const after = cursor === undefined ? 0 : Number.parseInt(cursor, 36);
      const found = disk.inPlaces(pipeline, placesOf(state), after, max + 1);
      const page = found.slice(0, max);
      const last = page.at(-1);
      return {
        shards: page.map((seq) => shardOf(disk, idOf(disk.numbers, seq), false)).filter((shard) => shard !== undefined),
        ...(found.length > max && last !== undefined ? { next: last.toString(36) } : {}),
      };
    },
    counts: async (pipeline) => {
      const { pending, running, completed, failed, cancelled } = store.logged.counts.get(pipeline) ?? noCounts();
      return { pending, running, completed, failed, cancelled };
    },
    queued: async (pipeline) => store.logged.counts.get(pipeline)?.queued ?? {},
    running: async (line) => {
      const disk = await settledDisk();
      return [...stores.pipelines.getKeys({})]
        .flatMap((pipeline) => disk.inPlaces(pipeline, placesOf('running'), 0, Number.MAX_SAFE_INTEGER))
        .flatMap((seq): RunningShard[] => {
          const shardId = idOf(disk.numbers, seq);
          const state = disk.state(shardId);
          if (state?.state !== 'running' || (line !== undefined && state.line !== line)) return [];
          const { epoch, pipeline, instance } = state;
          return [{ shardId, epoch, pipeline, line: state.line ?? '', instance: instance ?? '' }];
        });
    },

    events: async (after, max) => {
      const { logged } = store;
      const found: PodlineEvent[] = [];
      for (const { events } of logged.events(Math.max(after + 1, logged.numbers.firstEventId))) {
        for (const event of events) if (found.length < max) found.push(event);
        if (found.length >= max) break;
      }
      return found;
    },
    lastEventId: async () => store.logged.numbers.lastEventId,
    noticedUntil: async () => store.logged.numbers.noticedUntil,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },

    stateHash: async () => {
      const disk = await settledDisk();
      checkIndexes(stores, disk);
      const hash = createHash('sha256');
      const numbers = environment.numbers();
      for (const { key, value } of stores.pipelines.getRange({})) {
        hash.update(canonicalLine('pipeline', recordOf(value), stores.counts.get(key) ?? null));
      }
      for (const seq of stores.bodies.getKeys({})) {
        const id = idOf(numbers, seq);
        hash.update(canonicalLine('shard', id, disk.state(id), disk.body(id), disk.outcome(id) ?? null));
      }
      hash.update(canonicalLine('numbers', numbers.lastSeq, numbers.lastEventId, numbers.ended));
      return hash.digest('hex');
    },
    close: () => store.close(),
  };
}
