/** Fetches what a group of transitions will look at: a few queries that go out together, so one round trip. */
import type { Sql } from 'postgres';
import { delayedPlace, idOf, seqOf } from '../places.js';
import type { BodyRecord, StateRecord } from '../records.js';
import { endedKinds, planRemoval, type Retention } from '../retention.js';
import type { Numbers } from '../tables.js';
import type { Reads } from '../transitions/index.js';
import { WorkingSet, type Fetched, type Known } from './working-set.js';

export interface ShardRow {
  seq: string;
  body: BodyRecord;
  state: StateRecord;
}

export const shardColumns = 's.seq, b.body, s.state';

export function fetchedOf(numbers: Pick<Numbers, 'idPrefix'>, { seq, body, state }: ShardRow): Fetched {
  return { id: idOf(numbers, Number(seq)), body, state };
}

/** How many rows a transition may make a store fetch. */
export function weightOf({ ids, keys, queued, all, due }: Reads): number {
  return 1 + (all ?? 0) + (ids?.length ?? 0) + (keys?.length ?? 0) + (queued?.max ?? 0) + (due?.max ?? 0);
}

export async function fetchGroup(sql: Sql, known: Known, retention: Retention, group: readonly Reads[]): Promise<WorkingSet> {
  const { numbers } = known;
  const set = new WorkingSet(known);
  const rows = (text: string, values: (string | number)[]): Promise<ShardRow[]> =>
    sql.unsafe<ShardRow[]>(text, values, { prepare: true });
  const from = 'FROM shards s JOIN bodies b USING (seq)';
  const hold = (found: readonly ShardRow[]): string[] =>
    found.map((row) => {
      const shard = fetchedOf(numbers, row);
      set.hold(shard);
      return shard.id;
    });

  const { seqs, keys, queues, whole, due } = gather(numbers, group);
  const fetches: Promise<unknown>[] = [];
  if (seqs.length > 0) {
    const text = `SELECT ${shardColumns} ${from} WHERE s.seq = ANY (SELECT value::bigint FROM json_array_elements_text($1::text::json))`;
    fetches.push(rows(text, [JSON.stringify(seqs)]).then(hold));
  }
  if (keys.length > 0) {
    const text = `SELECT ${shardColumns} FROM json_to_recordset($1::text::json) AS k(pipeline text, key text)
      JOIN bodies b ON b.pipeline = k.pipeline COLLATE "C" AND b.key = k.key COLLATE "C" JOIN shards s ON s.seq = b.seq`;
    fetches.push(rows(text, [JSON.stringify(keys)]).then(hold));
  }
  for (const { pipeline, group: inGroup, max } of queues.values()) {
    // By place, then by number: the index is read from its front, and no farther.
    const text = `SELECT ${shardColumns} FROM (SELECT seq, place, state FROM shards
      WHERE pipeline = $1 AND in_group = $2 AND place < ${String(delayedPlace)} ORDER BY place, seq LIMIT $3) s JOIN bodies b USING (seq)
      ORDER BY s.place, s.seq`;
    // What the group takes out of the queue in other ways leaves room behind it.
    const all = max + group.length + seqs.length;
    fetches.push(
      rows(text, [pipeline, inGroup, all]).then((found) => {
        set.holdQueue(pipeline, inGroup, hold(found));
      }),
    );
  }
  for (const [pipeline, max] of whole) {
    const text = `SELECT ${shardColumns} ${from} WHERE s.pipeline = $1 ORDER BY s.seq LIMIT $2`;
    // What the group removes in other ways leaves room behind it.
    fetches.push(
      rows(text, [pipeline, max + seqs.length]).then((found) => {
        set.holdAll(pipeline, hold(found));
      }),
    );
  }
  if (due !== undefined) {
    const text = `SELECT ${shardColumns} ${from} WHERE s.due_ms <= $1 ORDER BY s.due_ms, s.seq LIMIT $2`;
    fetches.push(
      rows(text, [due.nowMs, due.max + seqs.length]).then((found) => {
        set.holdDue(hold(found));
      }),
    );
    for (const kind of endedKinds) {
      // As if all that may end in this group had ended: then the oldest are here, whatever is too many.
      const most = numbers.ended[kind] + due.max + seqs.length + group.length;
      const plan = planRemoval(retention, kind, { ended: { ...numbers.ended, [kind]: most } }, due.nowMs, due.max);
      fetches.push(
        rows(endedText, [kind, plan.untilMs, plan.max + seqs.length]).then((found) => {
          set.holdEnded(kind, hold(found));
        }),
      );
    }
    const untilMs = due.nowMs - retention.eventsMs;
    const oldest = `SELECT max(id) AS id FROM (SELECT id, ms FROM events ORDER BY id LIMIT $1) e WHERE ms <= $2`;
    fetches.push(
      sql.unsafe<{ id: string | null }[]>(oldest, [due.max, untilMs], { prepare: true }).then(([row]) => {
        set.holdOldEvents(untilMs, row?.id === null || row === undefined ? undefined : Number(row.id));
      }),
    );
  }
  await Promise.all(fetches);
  return set;
}

const endedText = `SELECT ${shardColumns} FROM shards s JOIN bodies b USING (seq)
  WHERE s.ended = $1 AND s.ended_ms <= $2 ORDER BY s.ended_ms, s.seq LIMIT $3`;

/** What the transitions of a group look at, taken together. */
function gather(
  numbers: Numbers,
  group: readonly Reads[],
): {
  seqs: number[];
  keys: { pipeline: string; key: string }[];
  queues: Map<string, { pipeline: string; group: string; max: number }>;
  whole: Map<string, number>;
  due: { nowMs: number; max: number } | undefined;
} {
  const seqs = new Set<number>();
  const keys: { pipeline: string; key: string }[] = [];
  const queues = new Map<string, { pipeline: string; group: string; max: number }>();
  const whole = new Map<string, number>();
  let due: { nowMs: number; max: number } | undefined;
  for (const reads of group) {
    for (const id of reads.ids ?? []) {
      const seq = seqOf(numbers, id);
      if (seq !== undefined) seqs.add(seq);
    }
    const { pipeline } = reads;
    if (pipeline !== undefined) {
      if (reads.all !== undefined) whole.set(pipeline, (whole.get(pipeline) ?? 0) + reads.all);
      for (const key of reads.keys ?? []) keys.push({ pipeline, key });
      if (reads.queued !== undefined && reads.queued.max > 0) {
        const { group, max } = reads.queued;
        const before = queues.get(`${pipeline}\0${group}`)?.max ?? 0;
        queues.set(`${pipeline}\0${group}`, { pipeline, group, max: before + max });
      }
    }
    if (reads.due !== undefined) {
      due = { nowMs: Math.max(due?.nowMs ?? 0, reads.due.nowMs), max: (due?.max ?? 0) + reads.due.max };
    }
  }
  return { seqs: [...seqs], keys, queues, whole, due };
}
