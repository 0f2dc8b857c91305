/** The journal in an LMDB environment on local disk: for one coordinator, which holds the lock of the work directory. */
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
import { placeKey, recordOf } from './layout.js';
import { Store } from './store.js';

export interface LmdbJournalOptions {
  /** Made when it is not there. One process at a time: the coordinator's work directory lock sees to that. */
  dir: string;
  retention?: Partial<Retention> | undefined;
  /** What ids of shards begin with: tells shards of this journal from those of another. Only used when the journal is made. */
  idPrefix?: string | undefined;
}

/** Opens a journal and takes its next term. Throws PDL_JOURNAL when its layout is another's. */
export function openLmdbJournal(options: LmdbJournalOptions): Journal {
  mkdirSync(options.dir, { recursive: true, mode: 0o700 });
  const listeners = new Set<(events: readonly PodlineEvent[]) => void>();
  const retention = { ...defaultRetention, ...options.retention };
  const store = new Store(options.dir, {
    retention,
    idPrefix: options.idPrefix ?? randomBytes(3).toString('hex'),
    onEvents: (events) => {
      for (const listener of listeners) listener(events);
    },
  });
  store.takeTerm(undefined);
  const { stores, reads } = store;

  const shardOf = (id: string, withReport: boolean): Shard | undefined => {
    const [body, state] = [reads.body(id), reads.state(id)];
    return body === undefined || state === undefined ? undefined : toShard(id, body, state, reads.outcome(id), withReport);
  };
  /** Numbers of shards of some places of a pipeline, in the order of submission. */
  const inPlaces = (pipeline: string, places: readonly number[], after: number, max: number): number[] => {
    return reads
      .groupNumbers(pipeline)
      .flatMap((group) =>
        places.flatMap((place) => {
          const [start, end] = [placeKey(group, place, after + 1), placeKey(group, place, Number.POSITIVE_INFINITY)];
          return Array.from(stores.places.getKeys({ start, end, limit: max }), ([, seq]) => seq);
        }),
      )
      .sort((a, b) => a - b)
      .slice(0, max);
  };

  const transitions = transitionsOf((nowMs, run) => store.transact(nowMs, run));
  return {
    clockMs: async () => store.numbers().clockMs,
    takeTerm: async (address) => store.takeTerm(address),
    leader: async () => store.leader(),

    ...transitions,
    removePipeline: async (name, ...rest) => {
      const outcome = await transitions.removePipeline(name, ...rest);
      if (!outcome.more) reads.forgetName(name);
      return outcome;
    },
    pipeline: async (name) => reads.pipeline(name),
    pipelines: async () => [...stores.pipelines.getRange({})].map(({ value }) => recordOf(value)),

    nextDueMs: async () => {
      const due = endedKinds.map((kind) => removalDueMs(retention, kind, store.numbers(), reads.firstEndedMs(kind)));
      for (const [ms] of stores.timers.getKeys({ limit: 1 })) due.push(ms);
      const known = due.filter((ms) => ms !== undefined);
      return known.length === 0 ? undefined : Math.min(...known);
    },

    shard: async (id) => shardOf(id, true),
    shardByKey: async (pipeline, key) => {
      const id = reads.idOf(pipeline, key);
      return id === undefined ? undefined : shardOf(id, true);
    },
    list: async ({ pipeline, state, cursor, max }) => {
      const after = cursor === undefined ? 0 : Number.parseInt(cursor, 36);
      const found = inPlaces(pipeline, placesOf(state), after, max + 1);
      const page = found.slice(0, max);
      const last = page.at(-1);
      return {
        shards: page.map((seq) => shardOf(idOf(reads.numbers, seq), false)).filter((shard) => shard !== undefined),
        ...(found.length > max && last !== undefined ? { next: last.toString(36) } : {}),
      };
    },
    counts: async (pipeline) => {
      const { pending, running, completed, failed, cancelled } = stores.counts.get(pipeline) ?? noCounts();
      return { pending, running, completed, failed, cancelled };
    },
    queued: async (pipeline) => stores.counts.get(pipeline)?.queued ?? {},
    running: async (line) =>
      [...stores.pipelines.getKeys({})]
        .flatMap((pipeline) => inPlaces(pipeline, placesOf('running'), 0, Number.MAX_SAFE_INTEGER))
        .flatMap((seq): RunningShard[] => {
          const shardId = idOf(reads.numbers, seq);
          const state = reads.state(shardId);
          if (state?.state !== 'running' || (line !== undefined && state.line !== line)) return [];
          const { epoch, pipeline, instance } = state;
          return [{ shardId, epoch, pipeline, line: state.line ?? '', instance: instance ?? '' }];
        }),

    events: async (after, max) => {
      const found: PodlineEvent[] = [];
      // The value that holds the first of them began at or before it.
      const [start = after + 1] = stores.events.getKeys({ start: after + 1, limit: 1, reverse: true });
      for (const { value } of stores.events.getRange({ start })) {
        for (const event of value[1]) if (event.id > after && found.length < max) found.push(event);
        if (found.length >= max) break;
      }
      return found;
    },
    lastEventId: async () => store.numbers().lastEventId,
    noticedUntil: async () => store.numbers().noticedUntil,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },

    stateHash: async () => {
      checkIndexes(stores, reads);
      const hash = createHash('sha256');
      const numbers = store.numbers();
      for (const { key, value } of stores.pipelines.getRange({})) {
        hash.update(canonicalLine('pipeline', recordOf(value), stores.counts.get(key) ?? null));
      }
      for (const seq of stores.bodies.getKeys({})) {
        const id = idOf(numbers, seq);
        hash.update(canonicalLine('shard', id, reads.state(id), reads.body(id), reads.outcome(id) ?? null));
      }
      hash.update(canonicalLine('numbers', numbers.lastSeq, numbers.lastEventId, numbers.ended));
      return hash.digest('hex');
    },
    close: () => store.close(),
  };
}
