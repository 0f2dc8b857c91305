import { describe, expect, it, onTestFinished } from 'vitest';
import { answerGroups } from '../../../runtime/api/submit-stream.js';
import type { Autoscaler, Capacity, Ceiling, Quota } from '../../../runtime/contracts/capacity.js';
import type { PipelineSpec } from '../../../runtime/contracts/manifest.js';
import { createCoordinator, type Coordinator } from '../../../runtime/coordinator/coordinator.js';
import { openLmdbJournal } from '../../../runtime/journal/lmdb/lmdb-journal.js';
import { holdMaxMs } from '../../../runtime/line/pace.js';
import { parseAmounts } from '../../../runtime/line/quantity.js';
import { completeOf, folder, heartbeatOf, helloOf, pipelineOf } from '../../support/journal.js';
import { ManualClock } from '../../support/manual-clock.js';
import { NumberedDriver } from '../../support/numbered-driver.js';

class ChangingCapacity implements Capacity {
  readonly #listeners = new Set<() => void>();
  quota: Quota = {
    name: 'ResourceQuota team-a',
    hard: parseAmounts({ memory: '8Gi' }),
    usedByOthers: parseAmounts({ memory: '2Gi' }),
  };
  costOf(): { perLine: Record<string, bigint>; refusals: string[] } {
    return { perLine: parseAmounts({ memory: '2Gi' }), refusals: [] };
  }
  quotas(): Quota[] {
    return [this.quota];
  }
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  change(memory: string, others = '0'): void {
    this.quota = { name: this.quota.name, hard: parseAmounts({ memory }), usedByOthers: parseAmounts({ memory: others }) };
    for (const listener of this.#listeners) listener();
  }
}

interface Stage {
  coordinator: Coordinator;
  driver: NumberedDriver;
  capacity: ChangingCapacity;
  clock: ManualClock;
  /** Submits so many shards. */
  submit: (count: number, more?: object) => Promise<void>;
  /** Waits until what is under way has come to rest. */
  settle: () => Promise<void>;
}

const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 40; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

async function stage(spec: Partial<Record<keyof PipelineSpec, unknown>> = {}, autoscaler?: Autoscaler): Promise<Stage> {
  const clock = new ManualClock();
  const driver = new NumberedDriver();
  const capacity = new ChangingCapacity();
  const journal = openLmdbJournal({ dir: folder() });
  const coordinator = await createCoordinator({ journal, driver, capacity, clock, autoscaler });
  onTestFinished(async () => {
    await coordinator.close();
    await journal.close();
  });
  await coordinator.applyPipeline(
    pipelineOf('flights', {
      scaling: { shardsPerLine: 2, stabilization: '1s', downEvery: '1s', downShare: 1, drainWithin: '60s' },
      ...spec,
    }),
  );
  let keys = 0;
  const submit = async (count: number, more: object = {}): Promise<void> => {
    const answers = await coordinator.submit(
      'flights',
      Array.from({ length: count }, () => ({
        key: `k${String((keys += 1))}`,
        source: { inline: 'x', format: 'csv' as const },
        parameters: {},
        priority: 5,
        ...more,
      })),
    );
    expect(answers.map(({ outcome }) => outcome)).toEqual(answers.map(() => 'accepted'));
    await settle();
  };
  return { coordinator, driver, capacity, clock, submit, settle };
}

const lease = async (
  coordinator: Coordinator,
  line: string,
  group?: string,
): Promise<{ shardId: string; epoch: number; key: string }[]> => {
  await coordinator.lineHello(line, helloOf(`i-${line}`, group === undefined ? {} : { group }));
  return (await coordinator.lease(line, { max: 2, waitMs: 0, residents: [] })).leases;
};

describe('the number of lines', () => {
  it('follows the queue up to W_max, and explain says what bounds it', async () => {
    const { coordinator, driver, clock, submit } = await stage();
    await coordinator.startLines('flights');
    expect(driver.count).toBe(1);
    await submit(20);
    expect(driver.lines.get('flights')).toEqual(['flights-0', 'flights-1', 'flights-2']);
    const [shard] = (await coordinator.list('flights')).shards;
    const { because } = await coordinator.explain(shard?.id ?? '');
    expect(because[0]).toBe(
      'There is no line for its pipeline: W_max is 3 because memory quota 8Gi - 2Gi used by others over 2Gi a line (ResourceQuota team-a).',
    );
    await lease(coordinator, 'flights-0');
    expect(
      (await coordinator.explain((await coordinator.list('flights', { state: 'pending' })).shards[0]?.id ?? '')).because,
    ).toContain(
      'No further line: W_max is 3, because memory quota 8Gi - 2Gi used by others over 2Gi a line (ResourceQuota team-a).',
    );
    await clock.advance(1_000, settle);
    expect((await coordinator.pipeline('flights')).flow).toMatchObject({
      linesMax: 3,
      groups: [{ queued: 18, running: 2, lines: 3, wanted: 3 }],
    });
  });

  it('follows a change of the quota at once, up and down', async () => {
    const { coordinator, driver, capacity, submit } = await stage();
    await coordinator.startLines('flights');
    await submit(40);
    capacity.change('12Gi');
    await settle();
    expect(driver.count).toBe(6);
    capacity.change('12Gi', '9Gi');
    await settle();
    expect(driver.count).toBe(1);
    capacity.change('0');
    await settle();
    expect(driver.count).toBe(0);
  });

  it('drains idle lines first, and ends a line with work only when it has given it back', async () => {
    const { coordinator, driver, capacity, clock, submit } = await stage();
    await coordinator.startLines('flights');
    await submit(20);
    const held = await lease(coordinator, 'flights-0');
    await lease(coordinator, 'flights-1');
    capacity.change('2Gi');
    await settle();
    expect(driver.lines.get('flights')).toEqual(['flights-0', 'flights-1']);
    const beat = await coordinator.heartbeat('flights-1', heartbeatOf('i-flights-1'));
    expect(beat.drain).toBe(true);
    expect((await coordinator.lease('flights-1', { max: 1, waitMs: 0, residents: [] })).leases).toEqual([]);
    for (const { shardId, epoch } of (await coordinator.line('flights-1')).shards)
      await coordinator.complete('flights-1', completeOf(shardId, epoch));
    await clock.advance(1_000, settle);
    expect(driver.lines.get('flights')).toEqual(['flights-0']);
    expect(held).toHaveLength(2);
    expect((await coordinator.line('flights-0')).shards).toHaveLength(2);
  });

  it('waits for a line that works no longer than `drainWithin`; then the driver ends it', async () => {
    const { coordinator, driver, capacity, clock, submit } = await stage({ scaling: { shardsPerLine: 2, drainWithin: '10s' } });
    await coordinator.startLines('flights');
    await submit(2);
    const held = await lease(coordinator, 'flights-0');
    capacity.change('0');
    await clock.advance(1_000, settle);
    expect(driver.count).toBe(1);
    const beats = async (): Promise<void> => {
      await coordinator.heartbeat('flights-0', heartbeatOf('i-flights-0', held)).catch(() => undefined);
      await settle();
    };
    await clock.advance(10_000, beats);
    expect(driver.orders.at(-1)).toBe('scale flights 0 without flights-0');
    expect(driver.count).toBe(0);
    expect(await coordinator.progress('flights')).toMatchObject({ pending: 2, running: 0 });
  });

  it('is never above the quota while lines are slow to end', async () => {
    const { coordinator, driver, capacity, clock, submit } = await stage();
    driver.slowToEnd = true;
    await coordinator.startLines('flights');
    await submit(40);
    capacity.change('2Gi');
    await settle();
    capacity.change('6Gi');
    await clock.advance(5_000, settle);
    expect(driver.count).toBe(3);
    driver.finishEnding();
    await clock.advance(5_000, settle);
    expect(driver.count).toBe(3);
    expect(driver.lines.get('flights')).toHaveLength(3);
  });

  it('goes to zero when nothing is left to do, and comes back with work, where the manifest wants it', async () => {
    const { coordinator, driver, clock, submit } = await stage({
      scaling: { minLines: 0, stabilization: '2s', downEvery: '1s' },
    });
    await coordinator.startLines('flights');
    expect(driver.count).toBe(0);
    await submit(1);
    expect(driver.count).toBe(1);
    const [held] = await lease(coordinator, 'flights-0');
    await clock.advance(5_000, async () => {
      await coordinator.heartbeat('flights-0', heartbeatOf('i-flights-0', held === undefined ? [] : [held]));
      await settle();
    });
    expect(driver.count).toBe(1);
    await coordinator.complete('flights-0', completeOf(held?.shardId ?? '', held?.epoch ?? 0));
    await clock.advance(5_000, settle);
    expect(driver.count).toBe(0);
  });

  it('is what was asked for, where a number was, as far as the quota allows; and an error where it allows none', async () => {
    const { coordinator, driver, capacity } = await stage();
    expect(await coordinator.startLines('flights', 2)).toMatchObject({ linesMax: 3 });
    expect(driver.count).toBe(2);
    expect(await coordinator.startLines('flights', 9)).toMatchObject({ linesMax: 3 });
    expect(driver.count).toBe(3);
    capacity.change('1Gi');
    await expect(coordinator.startLines('flights', 1)).rejects.toMatchObject({
      code: 'PDL_QUOTA',
      message: 'pipeline flights may have no line: W_max is 0 because memory quota 1Gi over 2Gi a line (ResourceQuota team-a)',
    });
  });
});

describe('groups', () => {
  const groups = [{ name: 'large', match: { key: 'large/*' } }, { name: 'asked' }];

  it('get lines of their own, each for its own shards: group A never gets those of B', async () => {
    const { coordinator, driver, submit } = await stage({ groups, scaling: { minLines: 0, shardsPerLine: 2 } });
    await coordinator.startLines('flights');
    await submit(1, { key: 'large/1' });
    await submit(1, { group: 'asked' });
    await submit(1, { key: 'other' });
    expect(Object.fromEntries(driver.lines)).toEqual({
      'flights-large': ['flights-large-0'],
      'flights-asked': ['flights-asked-0'],
      flights: ['flights-0'],
    });
    expect((await lease(coordinator, 'flights-large-0', 'large')).map(({ key }) => key)).toEqual(['large/1']);
    expect((await lease(coordinator, 'flights-0')).map(({ key }) => key)).toEqual(['other']);
    expect(await lease(coordinator, 'flights-large-0', 'large')).toEqual([]);
    expect((await lease(coordinator, 'flights-asked-0', 'asked')).map(({ key }) => key)).toEqual(['k2']);
  });

  it('wake the line that waits for their work, and no other', async () => {
    const { coordinator, submit } = await stage({ groups });
    for (const [line, group] of [
      ['a', 'asked'],
      ['d', 'default'],
    ] as const)
      await coordinator.lineHello(line, helloOf(`i-${line}`, { group }));
    const waiting = { max: 1, waitMs: 5_000, residents: [] };
    const ended = new AbortController();
    const byDefault = coordinator.lease('d', waiting, ended.signal);
    const asked = coordinator.lease('a', waiting);
    await settle();
    await submit(1, { group: 'asked' });
    expect((await asked).leases).toHaveLength(1);
    ended.abort();
    expect((await byDefault).leases).toEqual([]);
  });

  it('that a pipeline does not have are refused with a word', async () => {
    const { coordinator } = await stage({ groups });
    const [answer] = await coordinator.submit('flights', [
      { key: 'a', source: { inline: 'x', format: 'csv' }, parameters: {}, priority: 5, group: 'lage' },
    ]);
    expect(answer).toMatchObject({ outcome: 'rejected', error: { place: 'group', hint: 'Did you mean large?' } });
  });
});

describe('an autoscaler', () => {
  it('is told W_max whenever it changes, and the coordinator takes only the step between no line and one', async () => {
    const told: Ceiling[] = [];
    const { coordinator, driver, capacity, submit } = await stage(
      { scaling: { minLines: 0, shardsPerLine: 2 } },
      { kind: 'noting', tell: async (ceiling) => void told.push(ceiling), close: async () => undefined },
    );
    await coordinator.startLines('flights');
    await submit(20);
    expect(driver.orders).toEqual(['start flights 1']);
    capacity.change('20Gi');
    await settle();
    expect(told.map(({ linesMax }) => linesMax)).toEqual([3, 10]);
    expect(told.at(-1)).toMatchObject({
      workload: 'flights',
      linesMin: 0,
      shardsPerLine: 2,
      because: 'because memory quota 20Gi over 2Gi a line (ResourceQuota team-a)',
    });
  });
});

describe('the pace', () => {
  it('refuses submissions while the queue is full, says when to come back, and takes them again when it is no longer deep', async () => {
    const { coordinator, clock, submit } = await stage({ queue: { max: 4, deep: 2, shallow: 1 } });
    await submit(4);
    await clock.advance(1_000, settle);
    const one = { key: 'late', source: { inline: 'x', format: 'csv' as const }, parameters: {}, priority: 5 };
    expect(await coordinator.submit('flights', [one])).toMatchObject([
      { outcome: 'rejected', error: { code: 'PDL_QUEUE_FULL', retryAfterS: 60 } },
    ]);
    await lease(coordinator, 'flights-0');
    await clock.advance(1_000, settle);
    expect((await coordinator.pipeline('flights')).pace).toMatchObject({ pause: 'full' });
    await coordinator.lease('flights-0', { max: 1, waitMs: 0, residents: [] });
    await clock.advance(1_000, settle);
    expect(await coordinator.submit('flights', [one])).toMatchObject([{ outcome: 'accepted' }]);
  });

  it('asks for larger batches while the queue is shallow, and holds consumers back while cpu is at the quota and work piles up', async () => {
    const { coordinator, capacity, clock, submit } = await stage({ queue: { shallow: 3, deep: 100 } });
    const pace = async (): Promise<unknown> => (await coordinator.pipeline('flights')).pace;
    expect(await pace()).toMatchObject({ batch: 512, pause: 'none' });
    await clock.advance(1_000, settle);
    expect(await pace()).toMatchObject({ batch: 1_024 });
    capacity.quota = { ...capacity.quota, hard: parseAmounts({ cpu: 4 }) };
    await submit(6);
    await coordinator.lineHello('flights-0', helloOf('i'));
    await coordinator.heartbeat('flights-0', heartbeatOf('i', [], { usage: { cpu: 3.9, memoryBytes: 0 } }));
    await clock.advance(1_000, settle);
    expect(await pace()).toMatchObject({
      pause: 'load',
      why: expect.stringContaining('cpu at 98 % of the quota is above 95 %') as string,
    });
    await coordinator.heartbeat('flights-0', heartbeatOf('i', [], { usage: { cpu: 1, memoryBytes: 0 } }));
    await clock.advance(1_000, settle);
    expect(await pace()).toMatchObject({ pause: 'none' });
  });

  /** Enough waits, and one line uses nearly all cpu of the quota. */
  const loaded = async (): Promise<Stage> => {
    const staged = await stage({ queue: { shallow: 3, deep: 100 } });
    const { coordinator, capacity, clock, submit } = staged;
    capacity.quota = { ...capacity.quota, hard: parseAmounts({ cpu: 4 }) };
    await submit(6);
    await coordinator.lineHello('flights-0', helloOf('i'));
    await coordinator.heartbeat('flights-0', heartbeatOf('i', [], { usage: { cpu: 3.9, memoryBytes: 0 } }));
    await clock.advance(1_000, settle);
    return staged;
  };
  /** Groups of one, made when they are asked for. */
  const streamInto = (coordinator: Coordinator, ending?: AbortSignal) => {
    const made = { groups: 0 };
    const groups = async function* (): AsyncGenerator<unknown[], void, undefined> {
      for (;;) yield [{ key: `streamed-${String((made.groups += 1))}`, source: { inline: 'x', format: 'csv' } }];
    };
    return { made, answers: answerGroups(coordinator, 'flights', groups(), ending === undefined ? {} : { ending }) };
  };

  it('holds a stream back while the load is high: nothing of it is taken or read, and it goes on when the load has fallen', async () => {
    const { coordinator, clock } = await loaded();
    const { made, answers } = streamInto(coordinator);
    let answered = 0;
    const first = answers.next().finally(() => (answered += 1));
    for (let second = 0; second < 5; second += 1) await clock.advance(1_000, settle);
    expect([answered, made.groups]).toEqual([0, 1]);
    expect(await coordinator.progress('flights')).toMatchObject({ pending: 6 });
    // Who cannot wait is not held back, and not refused.
    const one = { key: 'single', source: { inline: 'x', format: 'csv' as const }, parameters: {}, priority: 5 };
    expect(await coordinator.submit('flights', [one])).toMatchObject([{ outcome: 'accepted' }]);
    await coordinator.heartbeat('flights-0', heartbeatOf('i', [], { usage: { cpu: 1, memoryBytes: 0 } }));
    await clock.advance(1_000, settle);
    expect((await first).value).toMatchObject([{ outcome: 'accepted', key: 'streamed-1' }]);
    expect((await answers.next()).value).toMatchObject([{ outcome: 'accepted', key: 'streamed-2' }]);
    await answers.return();
  });

  it('slows a stream down and does not stop it where the load stays high', async () => {
    const { coordinator, clock } = await loaded();
    const { made, answers } = streamInto(coordinator);
    const first = answers.next();
    for (let second = 0; second < holdMaxMs / 1_000; second += 1) await clock.advance(1_000, settle);
    expect((await first).value).toMatchObject([{ outcome: 'accepted', key: 'streamed-1' }]);
    expect(made.groups).toBe(1);
    await answers.return();
  });

  it('takes nothing of a stream that ended while it was held back', async () => {
    const { coordinator } = await loaded();
    const ending = new AbortController();
    const { answers } = streamInto(coordinator, ending.signal);
    const first = answers.next();
    await settle();
    ending.abort();
    await expect(first).rejects.toMatchObject({ code: 'PDL_QUEUE_FULL' });
    expect(await coordinator.progress('flights')).toMatchObject({ pending: 6 });
  });
});
