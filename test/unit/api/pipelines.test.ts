import { describe, expect, it, onTestFinished } from 'vitest';
import { createCoordinator } from '../../../runtime/coordinator/coordinator.js';
import { openLmdbJournal } from '../../../runtime/journal/lmdb/lmdb-journal.js';
import { createMetrics } from '../../../runtime/telemetry/metrics.js';
import { apiBench, completeOne, entryOf, leaseOne } from '../../support/api.js';
import { completeOf, folder, helloOf, pipelineOf, shardsOf } from '../../support/journal.js';
import { until } from '../../support/until.js';

const source = { uri: '/data/a', format: 'csv' } as const;

describe('deleting a pipeline', () => {
  it('is refused while it has work, and then takes its shards and lines with it', async () => {
    const { client, coordinator, call } = await apiBench({ pipelines: [pipelineOf(), pipelineOf('other')] });
    await client.submit('flights', { key: 'a', source });
    expect(await call('DELETE', '/v1/pipelines/flights')).toMatchObject({ status: 409, json: { code: 'PDL_PIPELINE_BUSY' } });
    const { shardId, epoch } = await leaseOne(coordinator);
    await expect(client.deletePipeline('flights')).rejects.toMatchObject({ code: 'PDL_PIPELINE_BUSY' });
    await coordinator.complete('line-0', completeOf(shardId, epoch));
    expect(await client.deletePipeline('flights')).toEqual({ cancelled: 0, removed: 1 });

    for (const gone of [
      client.pipeline('flights'),
      client.submit('flights', { key: 'b', source }),
      client.deletePipeline('flights'),
    ])
      await expect(gone).rejects.toMatchObject({ code: 'PDL_PIPELINE_UNKNOWN' });
    await expect(client.get(shardId)).rejects.toMatchObject({ code: 'PDL_SHARD_UNKNOWN' });
    expect(await client.lines()).toEqual([]);
    await expect(coordinator.lineHello('line-1', helloOf('b'))).rejects.toMatchObject({ code: 'PDL_PIPELINE_UNKNOWN' });
    expect((await client.pipelines()).map(({ name }) => name)).toEqual(['other']);
    // One of the name begins anew.
    expect(await client.applyPipeline(pipelineOf())).toMatchObject({ revision: 1, counts: { completed: 0 } });
    expect(await client.submit('flights', { key: 'a', source })).toMatchObject({ outcome: 'accepted' });
  });

  it('cancels what waits and runs where that is asked for, and each is told of once', async () => {
    const { client, coordinator, journal } = await apiBench();
    for (const key of ['a', 'b', 'c']) await client.submit('flights', { key, source });
    const held = await leaseOne(coordinator);
    const [first, second] = await Promise.all([
      client.deletePipeline('flights', { cancel: true }),
      client.deletePipeline('flights', { cancel: true }),
    ]);
    expect([first, second]).toEqual([
      { cancelled: 3, removed: 3 },
      { cancelled: 3, removed: 3 },
    ]);
    await expect(coordinator.complete('line-0', completeOf(held.shardId, held.epoch))).rejects.toMatchObject({
      code: 'PDL_SHARD_UNKNOWN',
    });
    const ends = (await journal.events(0, 100)).filter(({ type }) => type === 'shard.cancelled');
    expect(ends.map(({ data }) => data['key']).sort()).toEqual(['a', 'b', 'c']);
  });

  it('that was begun is ended by whoever leads next', async () => {
    const dir = folder();
    const before = openLmdbJournal({ dir });
    await (await createCoordinator({ journal: before })).applyPipeline(pipelineOf());
    const now = { ms: 1_000_000, at: '2026-01-01T00:00:00.000Z' };
    await before.submit('flights', shardsOf(30), now);
    await before.removePipeline('flights', true, 10, now);
    await before.close();
    const journal = openLmdbJournal({ dir });
    const coordinator = await createCoordinator({ journal });
    onTestFinished(async () => {
      await coordinator.close();
      await journal.close();
    });
    expect(await coordinator.pipelines()).toEqual([]);
    await until(async () => (await journal.pipeline('flights')) === undefined);
    expect(await journal.lastEventId()).toBeGreaterThan(60);
  });

  it('wants a token that may operate it, and leaves no metrics behind', async () => {
    const metrics = createMetrics();
    onTestFinished(() => {
      metrics.close();
    });
    const { call, coordinator, client } = await apiBench({
      metrics,
      tokens: [entryOf('submitter', { scopes: ['submit', 'read'] })],
    });
    await client.submit('flights', { key: 'a', source });
    await completeOne(coordinator);
    expect(await metrics.text()).toMatch(/podline_shards_ended_total\{pipeline="flights",state="completed"\} 1/);
    expect((await call('DELETE', '/v1/pipelines/flights', undefined, { authorization: 'Bearer submitter' })).status).toBe(403);
    expect((await call('DELETE', '/v1/pipelines/flights')).status).toBe(200);
    await until(async () => !(await metrics.text()).includes('pipeline="flights"'));
  });
});

describe('connectors over the API', () => {
  it('are shown as they say they are, to who may read all pipelines', async () => {
    const { client, coordinator, call } = await apiBench({
      tokens: [entryOf('one', { pipelines: ['flights'] }), entryOf('all', { scopes: ['read'] })],
    });
    expect(await client.connectors()).toEqual([]);
    const view = {
      ...{ name: 'inbox', kind: 'folder' as const, state: 'away' as const, because: 'there is no folder' },
      ...{ taken: 3, duplicates: 1, refused: 0, published: 2 },
    };
    coordinator.watchConnectors(() => [view]);
    expect(await client.connectors()).toEqual([view]);
    expect((await call('GET', '/v1/connectors', undefined, { authorization: 'Bearer all' })).json).toEqual({
      connectors: [view],
    });
    expect((await call('GET', '/v1/connectors', undefined, { authorization: 'Bearer one' })).status).toBe(403);
  });
});
