import { describe, expect, it, onTestFinished } from 'vitest';
import { PodlineClient, type SubmissionInput } from '../../../runtime/api/client.js';
import { startApiServer } from '../../../runtime/api/server.js';
import { limits } from '../../../runtime/contracts/limits.js';
import type { PodlineEvent } from '../../../runtime/contracts/events.js';
import { createCoordinator, type Coordinator } from '../../../runtime/coordinator/coordinator.js';
import { openLmdbJournal } from '../../../runtime/journal/lmdb/lmdb-journal.js';
import { completeOf, folder, helloOf, pipelineOf } from '../../support/journal.js';

const token = 'secret';
const of = (key: string, more: Partial<SubmissionInput> = {}): SubmissionInput => ({
  key,
  source: { uri: `/data/${key}.csv`, format: 'csv' },
  ...more,
});

async function coordinatorOf(): Promise<Coordinator> {
  const journal = openLmdbJournal({ dir: folder(), idPrefix: 'test' });
  const coordinator = await createCoordinator({ journal });
  onTestFinished(async () => {
    await coordinator.close();
    await journal.close();
  });
  return coordinator;
}

const ways = {
  'in process': async (coordinator: Coordinator) => PodlineClient.local(coordinator),
  'over HTTP': async (coordinator: Coordinator) => {
    const server = await startApiServer({ coordinator, token });
    const client = PodlineClient.connect(server.url, token);
    onTestFinished(async () => {
      await client.close();
      await server.close();
    });
    return client;
  },
};

describe.each(Object.entries(ways))('the client %s', (way, connect) => {
  const both = async (): Promise<{ client: PodlineClient; coordinator: Coordinator }> => {
    const coordinator = await coordinatorOf();
    const client = await connect(coordinator);
    await client.applyPipeline(pipelineOf());
    return { client, coordinator };
  };
  const work = async (coordinator: Coordinator): Promise<string> => {
    await coordinator.lineHello('line-0', helloOf('a'));
    const [lease] = (await coordinator.lease('line-0', { max: 1, waitMs: 0, residents: [] })).leases;
    await coordinator.complete('line-0', completeOf(lease?.shardId ?? '', lease?.epoch ?? 0));
    return lease?.shardId ?? '';
  };

  it('applies a pipeline and gets it back as it was', async () => {
    const { client } = await both();
    expect(await client.applyPipeline(pipelineOf())).toMatchObject({ changed: false, revision: 1 });
    const view = await client.pipeline('flights');
    expect(view.pipeline).toEqual({ ...JSON.parse(JSON.stringify(pipelineOf())), revision: 1 });
    expect((await client.pipelines()).map(({ name, paused, pipeline }) => ({ name, paused, pipeline }))).toEqual([
      { name: 'flights', paused: false, pipeline: undefined },
    ]);
    expect(await client.isAlive()).toBe(true);
  });

  it('submits a shard, is told of a duplicate, and gets the result by its id', async () => {
    const { client, coordinator } = await both();
    const answer = await client.submit('flights', of('a', { source: { inline: [{ x: 1 }], format: 'csv' } }));
    expect(answer).toEqual({ outcome: 'accepted', id: 'test-0000001', key: 'a' });
    expect(await client.submit('flights', of('a'))).toMatchObject({ outcome: 'duplicate', id: 'test-0000001' });
    expect(await client.get('test-0000001')).toMatchObject({
      state: 'pending',
      source: { inline: [{ x: 1 }], format: 'csv' },
      resultDir: '/data/results',
      priority: 5,
    });
    const ended = client.waitFor('test-0000001');
    await work(coordinator);
    const { result, report } = completeOf('test-0000001', 1);
    expect(await ended).toMatchObject({ state: 'completed', result, report });
    expect(await client.waitFor('test-0000001')).toMatchObject({ state: 'completed' });
    expect(await client.getByKey('flights', 'a')).toMatchObject({ id: 'test-0000001' });
    expect(await client.progress('flights')).toEqual({ pending: 0, running: 0, completed: 1, failed: 0, cancelled: 0 });
  });

  it('waits for more shards at once than it keeps connections', async () => {
    const { client, coordinator } = await both();
    const keys = Array.from({ length: 40 }, (_, index) => `k${String(index)}`);
    const answers = await client.submitAll(
      'flights',
      keys.map((key) => of(key)),
    );
    const ended = Promise.all(answers.map((answer) => client.waitFor(answer.outcome === 'accepted' ? answer.id : '')));
    for (const _ of keys) await work(coordinator);
    expect((await ended).map(({ key, state }) => [key, state])).toEqual(keys.map((key) => [key, 'completed']));
  });

  it('submits many at once and as a stream, each answered in order, the bad ones by themselves', async () => {
    const { client } = await both();
    const bad = { key: 'bad', source: { format: 'csv' } } as unknown as SubmissionInput;
    expect((await client.submitAll('flights', [of('a'), of('b')])).map((answer) => answer.outcome)).toEqual([
      'accepted',
      'accepted',
    ]);
    const answers = [];
    for await (const answer of client.submitMany('flights', [of('a'), bad, of('c')])) answers.push(answer);
    expect(answers.map((answer) => [answer.key, answer.outcome])).toEqual([
      ['a', 'duplicate'],
      ['bad', 'rejected'],
      ['c', 'accepted'],
    ]);
    expect(answers[1]).toMatchObject({ error: { code: 'PDL_REQUEST_INVALID' } });
  });

  it('takes 10,000 submissions as a stream, and lists them in their order', async () => {
    const { client } = await both();
    let made = 0;
    let answered = 0;
    let ahead = 0;
    const source = async function* (): AsyncGenerator<SubmissionInput, void, undefined> {
      for (; made < 10_000; made += 1) {
        ahead = Math.max(ahead, made - answered);
        yield of(`s${String(made)}`, { parameters: {} });
      }
    };
    for await (const answer of client.submitMany('flights', source())) {
      expect(answer.outcome).toBe('accepted');
      answered += 1;
    }
    expect(answered).toBe(10_000);
    // Over HTTP the kernel's socket buffers read ahead as they like; what the process holds is the concern of submit-stream.test.ts.
    if (way === 'in process') expect(ahead).toBeLessThanOrEqual(limits.submitGroupMax);
    expect((await client.progress('flights')).pending).toBe(10_000);
    let listed = 0;
    for await (const shard of client.listAll('flights', { state: 'pending' })) {
      expect(shard.key).toBe(`s${String(listed)}`);
      listed += 1;
    }
    expect(listed).toBe(10_000);
  });

  it('cancels, retries, resumes and explains', async () => {
    const { client, coordinator } = await both();
    await client.submitAll('flights', [of('a'), of('b')]);
    expect(await client.cancel('test-0000001')).toMatchObject({ state: 'cancelled' });
    expect(await client.retry('test-0000001')).toMatchObject({ state: 'pending' });
    const done = await work(coordinator);
    expect(await client.resumeFrom(done, 'score')).toMatchObject({ state: 'pending', resumeFrom: 'score' });
    expect((await client.explain(done)).because.join(' ')).toContain('score');
    expect(await client.pause('flights')).toEqual({ changed: true });
    expect((await client.explain(done)).advice).toBe('Resume pipeline flights.');
    expect(await client.resume('flights')).toEqual({ changed: true });
    expect((await client.lines()).map((line) => line.line)).toEqual(['line-0']);
    expect(await client.drainLine('line-0')).toMatchObject({ state: 'draining' });
    expect(await client.line('line-0')).toMatchObject({ state: 'draining' });
  });

  it('throws the errors of the coordinator, with code, place and hint', async () => {
    const { client } = await both();
    await client.submit('flights', of('a'));
    const cases: [() => Promise<unknown>, Record<string, unknown>][] = [
      [() => client.get('nothing'), { code: 'PDL_SHARD_UNKNOWN', message: 'there is no shard nothing' }],
      [() => client.pipeline('flihgts'), { code: 'PDL_PIPELINE_UNKNOWN', hint: 'Did you mean flights?' }],
      [
        () => client.submit('flights', of('b', { parameters: { nope: 1 } })),
        { code: 'PDL_PARAMETER_INVALID', place: 'parameters.nope' },
      ],
      [() => client.submit('flights', { ...of('b'), priority: 12 }), { code: 'PDL_REQUEST_INVALID', place: 'body.priority' }],
      [() => client.submit('flights', { key: 'x' } as unknown as SubmissionInput), { code: 'PDL_REQUEST_INVALID' }],
      [() => client.retry('test-0000001'), {}],
      [() => client.resumeFrom('test-0000001', 'scoer'), { code: 'PDL_REQUEST_INVALID', hint: 'Did you mean score?' }],
      [() => client.line('nowhere'), { code: 'PDL_LINE_UNKNOWN' }],
      [() => client.list('flights', { cursor: '../..' }), { code: 'PDL_REQUEST_INVALID' }],
      [() => client.submitMany('nobody', [of('a')]).next(), { code: 'PDL_PIPELINE_UNKNOWN' }],
    ];
    for (const [call, expected] of cases) {
      if (Object.keys(expected).length === 0) expect(await call()).toMatchObject({ state: 'pending' });
      else await expect(call()).rejects.toMatchObject({ name: 'PodlineError', ...expected });
    }
  });

  it('hears events from where it stood, filtered, each once', async () => {
    const { client } = await both();
    await client.applyPipeline(pipelineOf('other'));
    await client.submitAll('flights', [of('a'), of('b')]);
    await client.submitAll('other', [of('c')]);
    const read = async (query: Parameters<PodlineClient['events']>[0], most: number): Promise<PodlineEvent[]> => {
      const stop = new AbortController();
      const events: PodlineEvent[] = [];
      for await (const event of client.events({ ...query, signal: stop.signal })) {
        events.push(event);
        if (events.length === most) stop.abort();
      }
      return events;
    };
    const all = await read({ after: 0 }, 5);
    expect(all.map((event) => [event.id, event.pipeline, event.type])).toEqual([
      [1, 'flights', 'pipeline.applied'],
      [2, 'other', 'pipeline.applied'],
      [3, 'flights', 'shard.submitted'],
      [4, 'flights', 'shard.submitted'],
      [5, 'other', 'shard.submitted'],
    ]);
    expect(await read({ after: 3 }, 2)).toEqual(all.slice(3));
    expect(await read({ after: 0, pipeline: 'other' }, 2)).toEqual([all[1], all[4]]);
    expect(await read({ after: 0, shardId: 'test-0000002' }, 1)).toEqual([all[3]]);
    expect(await client.lastEventId()).toBe(5);
  });

  it('stops to wait when it is told to', async () => {
    const { client } = await both();
    await client.submit('flights', of('a'));
    const stop = new AbortController();
    const waiting = client.waitFor('test-0000001', stop.signal);
    stop.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });
});
