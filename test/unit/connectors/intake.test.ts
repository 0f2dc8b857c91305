/** Requests in simple words take the format of their pipeline, also after that has changed. */
import { expect, it } from 'vitest';
import { Intake } from '../../../runtime/connectors/intake.js';
import { Pace } from '../../../runtime/connectors/pace.js';
import { Status } from '../../../runtime/connectors/status.js';
import { Rig } from '../../support/connectors/rig.js';
import { pipelineOf } from '../../support/journal.js';
import { ManualClock } from '../../support/manual-clock.js';

it('asks for the format again when the pipeline has another one by now, and refuses no request for it', async () => {
  const rig = await Rig.start();
  const status = new Status('inbox', 'folder');
  const pace = new Pace(
    status,
    { backoff: { initialMs: 1, factor: 2, maxMs: 10 }, delay: async () => undefined, random: () => 0 },
    new ManualClock(),
  );
  const intake = new Intake(rig.client, status, 'flights', pace);
  const take = (key: string, body: unknown): ReturnType<Intake['take']> =>
    intake.take([{ body: Buffer.from(JSON.stringify(body)), place: key, key }]);
  const formatOf = async (key: string): Promise<string> => (await rig.client.getByKey('flights', key)).source.format;
  expect(await take('a', { payload: [{ v: 1 }] })).toEqual([{ fate: 'taken', duplicate: false }]);
  expect(await formatOf('a')).toBe('ndjson');
  await rig.coordinator.applyPipeline(pipelineOf('flights', { input: { format: 'bytes' } }));
  expect(await take('b', { payload: 'text' })).toMatchObject([{ fate: 'later', error: { place: 'source.format' } }]);
  expect(await take('b', { payload: 'text' })).toEqual([{ fate: 'taken', duplicate: false }]);
  expect(await formatOf('b')).toBe('bytes');
  // A submission says itself what it is.
  expect(await take('c', { source: { uri: '/data/c', format: 'ndjson' } })).toMatchObject([
    { fate: 'refused', error: { place: 'source.format' } },
  ]);
});
