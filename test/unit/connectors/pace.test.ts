/** Connectors wait while the coordinator asks for it: their requests wait as well where they are. */
import { expect, it } from 'vitest';
import type { PaceView } from '../../../runtime/contracts/views.js';
import { Intake } from '../../../runtime/connectors/intake.js';
import { Pace } from '../../../runtime/connectors/pace.js';
import { Status } from '../../../runtime/connectors/status.js';
import { limits } from '../../../runtime/contracts/limits.js';
import { Rig } from '../../support/connectors/rig.js';
import { ManualClock } from '../../support/manual-clock.js';

const loaded: PaceView = { batch: 16, pause: 'load', retryAfterS: 4, why: 'cpu at 97 % of the quota is above 95 %' };

it('takes no more at once than the pipeline asks for that wants least, of those asked lately', () => {
  const clock = new ManualClock();
  const patience = { backoff: { initialMs: 1, factor: 2, maxMs: 1 }, delay: async () => undefined, random: () => 0 };
  const pace = new Pace(new Status('inbox', 'folder'), patience, clock);
  expect(pace.batch(256)).toBe(256);
  pace.heed('flights', { batch: 4_096, pause: 'none', why: 'the queue is shallow' });
  expect(pace.batch(256)).toBe(256);
  pace.heed('others', { batch: 64, pause: 'none', why: 'the queue is deep' });
  pace.heed('unknown', undefined);
  expect(pace.batch(256)).toBe(64);
  pace.heed('others', { batch: 128, pause: 'none', why: 'the queue is shallow' });
  expect(pace.batch(256)).toBe(128);
  clock.step(limits.scaleLookMs);
  pace.heed('flights', { batch: 200, pause: 'none', why: 'the queue is deep' });
  expect(pace.batch(256)).toBe(200);
});

it('rests between two groups while a pipeline is under load, and asks it again no more often than it looks', async () => {
  const { client } = await Rig.start();
  let pace: PaceView = loaded;
  let asked = 0;
  const office = Object.create(client, {
    pipeline: {
      value: async (name: string) => {
        asked += 1;
        return { ...(await client.pipeline(name)), pace };
      },
    },
    submitAll: { value: client.submitAll.bind(client) },
  }) as typeof client;
  const clock = new ManualClock();
  const rests: number[] = [];
  const status = new Status('inbox', 'folder');
  const delay = async (ms: number): Promise<void> => {
    rests.push(ms);
    expect(status.view()).toMatchObject({ state: 'paused', because: expect.stringContaining('cpu at 97 %') as string });
  };
  const backoff = { initialMs: 1, factor: 2, maxMs: 3_000 };
  const keeper = new Pace(status, { backoff, delay, random: () => 0.999_999 }, clock);
  const intake = new Intake(office, status, 'flights', keeper);
  const signal = new AbortController().signal;
  status.set('inlet', 'running', 'requests are taken');
  const take = async (key: string): Promise<void> => {
    const submission = { key, source: { uri: '/data/a', format: 'ndjson' } };
    expect(await intake.take([{ body: Buffer.from(JSON.stringify(submission)), place: key }])).toEqual([
      { fate: 'taken', duplicate: false },
    ]);
    await keeper.rest(signal);
  };
  await take('a');
  expect([asked, rests.map(Math.round)]).toEqual([1, [3_000]]);
  pace = { ...loaded, pause: 'none' };
  await take('b');
  await take('c');
  expect([asked, rests.length]).toEqual([2, 1]);
  expect(status.view().state).toBe('running');
  await clock.advance(limits.scaleLookMs, async () => undefined);
  pace = loaded;
  await take('d');
  expect([asked, rests.length]).toEqual([3, 2]);
});
