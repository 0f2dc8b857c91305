import { describe, expect, it } from 'vitest';
import type { PodlineEvent } from '../../../runtime/contracts/events.js';
import { decodeGroup, encodeGroup, type LoggedGroup } from '../../../runtime/journal/lmdb/log-record.js';
import { decodeEvents, encodeEvents } from '../../../runtime/journal/lmdb/stored-events.js';
import { Value } from '../../../runtime/journal/lmdb/value.js';
import { newNumbers, noCounts } from '../../../runtime/journal/tables.js';

const valued = <T extends { value: string }>(things: readonly T[]) =>
  things.map((thing) => ({ ...thing, value: new Value(thing.value) }));

describe('a record of the log', () => {
  const writtenAndRead = (group: LoggedGroup): LoggedGroup => {
    const kept = { added: valued(group.added), outcomes: valued(group.outcomes), events: valued(group.events) };
    const record = encodeGroup({ ...group, ...kept });
    // What is kept in memory stands in the record now, and is what it was.
    for (const name of ['added', 'outcomes', 'events'] as const)
      expect(kept[name].map(({ value }) => value.text)).toEqual(group[name].map(({ value }) => value));
    return decodeGroup(record);
  };

  it('is read as it was written, whatever it speaks of', () => {
    const nothing: LoggedGroup = {
      numbers: newNumbers('id'),
      removed: [],
      gone: [],
      pipelines: [],
      counts: [],
      added: [],
      states: [],
      outcomes: [],
      events: [],
      eventsFrom: 0,
    };
    expect(writtenAndRead(nothing)).toEqual(nothing);
    const shard = { pipeline: 'flights', group: 'default', value: '["ö",1]' };
    const all: LoggedGroup = {
      ...nothing,
      removed: [3, 4],
      gone: ['old'],
      counts: [['flights', { ...noCounts(), pending: 2 }]],
      added: [
        { ...shard, seq: 5, key: 'a', marks: [5, -1, 0] },
        { ...shard, seq: 6, key: 'with "quotes"', group: 'gpu', marks: [0, -1, 0, 12.5] },
      ],
      states: [
        { ...shard, seq: 1, was: [5, -1, 0], is: [11, -1, 0, 20.25] },
        { ...shard, seq: 2, pipeline: 'other', was: [11, -1, 0], is: [12, 0, 17.125] },
        { ...shard, seq: 5, was: [10, -1, 0, 7, 9], is: [13, 1, 18] },
      ],
      outcomes: [
        { seq: 2, value: '{"result":1}' },
        { seq: 5, value: '' },
      ],
      events: [{ firstId: 7, lastId: 8, value: '[1,7,[]]' }],
      eventsFrom: 4,
    };
    expect(writtenAndRead(all)).toEqual(all);
  });
});

describe('events as they are kept', () => {
  it('are read as they were written, with and without what they share', () => {
    const event = (id: number, more: Partial<PodlineEvent> = {}): PodlineEvent => ({
      id,
      type: 'shard.submitted',
      at: '2026-01-01T00:00:00.000Z',
      pipeline: 'flights',
      data: { key: `k-${String(id)}` },
      ...more,
    });
    const events = [
      event(4, { shardId: 'a' }),
      event(5, { shardId: 'b' }),
      event(6, { shardId: 'c', line: 'l', type: 'shard.leased' }),
      event(7, { at: '2026-01-01T00:00:00.001Z' }),
      event(8, { pipeline: 'other', line: 'm' }),
      event(9, { pipeline: 'other', at: '2026-01-01T00:00:00.001Z' }),
    ];
    expect(decodeEvents(encodeEvents(3.5, events))).toEqual({ ms: 3.5, events });
  });
});
