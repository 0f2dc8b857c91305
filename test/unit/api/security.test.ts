import { describe, expect, it } from 'vitest';
import { PodlineClient } from '../../../runtime/api/client.js';
import { allowedSchema } from '../../../runtime/contracts/access.js';
import { apiBench, completeOne, entryOf, failOne, leaseOne } from '../../support/api.js';
import { completeOf, folder, heartbeatOf, helloOf, pipelineOf } from '../../support/journal.js';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';

const shard = (key: string, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  key,
  source: { uri: `/data/${key}.csv`, format: 'csv' },
  ...more,
});
const bearer = (token: string): { authorization: string } => ({ authorization: `Bearer ${token}` });

describe('a token', () => {
  it('may do what its scopes say, on its pipelines, and sees nothing of others', async () => {
    const { call, coordinator } = await apiBench({
      tokens: [
        entryOf('submitter', { scopes: ['submit'], pipelines: ['flights'] }),
        entryOf('reader', { scopes: ['read'], pipelines: ['flights'] }),
        entryOf('stranger', { scopes: ['read', 'submit', 'operate'], pipelines: ['other'] }),
      ],
      pipelines: [pipelineOf('flights'), pipelineOf('other')],
    });
    const submit = (token: string, pipeline: string): ReturnType<typeof call> =>
      call('POST', `/v1/pipelines/${pipeline}/shards`, shard('a'), bearer(token));
    const accepted = await submit('submitter', 'flights');
    expect([accepted.status, accepted.json['outcome']]).toEqual([200, 'accepted']);
    const id = String(accepted.json['id']);
    for (const [method, path, token, status, code] of [
      ['POST', '/v1/pipelines/other/shards', 'submitter', 403, 'PDL_FORBIDDEN'],
      ['GET', '/v1/pipelines/flights/shards', 'submitter', 403, 'PDL_FORBIDDEN'],
      ['GET', `/v1/shards/${id}`, 'submitter', 404, 'PDL_SHARD_UNKNOWN'],
      ['GET', `/v1/shards/${id}`, 'reader', 200, undefined],
      ['POST', `/v1/shards/${id}/cancel`, 'reader', 403, 'PDL_FORBIDDEN'],
      ['GET', `/v1/shards/${id}`, 'stranger', 404, 'PDL_SHARD_UNKNOWN'],
      ['POST', `/v1/shards/${id}/cancel`, 'stranger', 404, 'PDL_SHARD_UNKNOWN'],
      ['GET', '/v1/pipelines/flights', 'stranger', 403, 'PDL_FORBIDDEN'],
      ['GET', '/v1/events', 'reader', 403, 'PDL_FORBIDDEN'],
      ['GET', `/v1/events?shard=${id}`, 'stranger', 404, 'PDL_SHARD_UNKNOWN'],
      ['GET', '/metrics', 'reader', 403, 'PDL_FORBIDDEN'],
      ['POST', '/v1/pipelines/flights/pause', 'reader', 403, 'PDL_FORBIDDEN'],
      ['POST', '/v1/lines/line-0/hello', 'reader', 403, 'PDL_FORBIDDEN'],
    ] as const) {
      const body = method === 'POST' ? (path.endsWith('hello') ? helloOf('a') : shard('b')) : undefined;
      const answer = await call(method, path, body, bearer(token));
      expect([answer.status, answer.json['code']], `${token} ${method} ${path}`).toEqual([
        status,
        status === 200 ? undefined : code,
      ]);
    }
    await leaseOne(coordinator, 'flights');
    const names = async (token: string, of: 'pipelines' | 'lines'): Promise<unknown[]> => {
      const listed = (await call('GET', `/v1/${of}`, undefined, bearer(token))).json[of] as { name?: string; line?: string }[];
      return listed.map(({ name, line }) => name ?? line);
    };
    expect(await names('reader', 'pipelines')).toEqual(['flights']);
    expect(await names('stranger', 'pipelines')).toEqual(['other']);
    expect(await names('stranger', 'lines')).toEqual([]);
    expect(await names('reader', 'lines')).toEqual(['line-0']);
    expect((await call('GET', '/v1/lines/line-0', undefined, bearer('stranger'))).status).toBe(404);
    expect((await call('GET', '/v1/lines/line-0', undefined, bearer('reader'))).status).toBe(200);
  });

  it('is refused when it is missing, foreign, expired or taken back', async () => {
    const { call, tokens } = await apiBench({
      tokens: [entryOf('expired', { expiresAt: '2020-01-01T00:00:00Z' }), entryOf('good')],
    });
    const status = async (headers: Record<string, string>): Promise<number> =>
      (await call('GET', '/v1/pipelines', undefined, headers)).status;
    for (const authorization of [
      '',
      'Bearer',
      'Bearer ',
      'Bearer expired',
      'Bearer foreign',
      'Basic Z29vZA==',
      'good',
      'Bearer good more',
      `Bearer ${'x'.repeat(8_000)}`,
    ])
      expect(await status({ authorization }), authorization).toBe(401);
    expect(await status(bearer('good'))).toBe(200);
    tokens.replace([]);
    expect(await status(bearer('good'))).toBe(401);
    const answer = await call('GET', '/v1/pipelines', undefined, { authorization: '' });
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
  });

  it('is used no more often than its rate allows: 429 says how long to wait', async () => {
    const { call } = await apiBench({
      tokens: [entryOf('slow', { ratePerSecond: 1 }), entryOf('quick')],
      bounds: { burstMs: 2_000 },
    });
    const answers = [];
    for (let calls = 0; calls < 4; calls += 1) answers.push(await call('GET', '/v1/pipelines', undefined, bearer('slow')));
    expect(answers.slice(0, 2).map(({ status }) => status)).toEqual([200, 200]);
    const [refused] = answers.filter(({ status }) => status !== 200);
    expect([refused?.status, refused?.json['code'], refused?.headers.get('retry-after')]).toEqual([429, 'PDL_RATE_LIMITED', '1']);
    expect((await call('GET', '/v1/pipelines', undefined, bearer('quick'))).status).toBe(200);
  });

  it('of a line is taken under its own name and for its own pipeline only', async () => {
    const { call, coordinator, lineTokens } = await apiBench({ pipelines: [pipelineOf('flights'), pipelineOf('other')] });
    await coordinator.submit('flights', [{ key: 'a', source: { uri: '/a', format: 'csv' }, parameters: {}, priority: 5 }]);
    const mine = bearer(lineTokens.issue('flights', 'line-0'));
    const theirs = bearer(lineTokens.issue('flights', 'line-1'));
    const hello = (line: string, headers: Record<string, string>, pipeline = 'flights'): ReturnType<typeof call> =>
      call('POST', `/v1/lines/${line}/hello`, helloOf('a', { pipeline }), headers);
    expect((await hello('line-0', mine)).status).toBe(200);
    expect((await hello('line-0', theirs)).status).toBe(403);
    expect((await hello('line-0', mine, 'other')).status).toBe(403);
    const leased = await call('POST', '/v1/lines/line-0/leases', { max: 1, waitMs: 0, residents: [] }, mine);
    const [lease] = leased.json['leases'] as { shardId: string; epoch: number }[];
    expect(lease?.shardId).toBeDefined();
    for (const [path, body] of [
      ['heartbeat', heartbeatOf('a')],
      ['leases', { max: 1, waitMs: 0, residents: [] }],
      [
        'fail',
        {
          shardId: lease?.shardId,
          epoch: lease?.epoch,
          counts: true,
          error: { code: 'PDL_INTERNAL', message: 'x', hint: 'x', retry: 'later' },
        },
      ],
    ] as const)
      expect((await call('POST', `/v1/lines/line-0/${path}`, body, theirs)).status, path).toBe(403);
    expect((await call('GET', '/v1/pipelines/flights', undefined, mine)).status).toBe(403);
    expect((await call('POST', '/v1/lines/line-0/drain', undefined, mine)).status).toBe(403);
    // A line of another pipeline has its name now: what comes behind its hello names no pipeline.
    expect((await hello('line-0', bearer(lineTokens.issue('other', 'line-0')), 'other')).status).toBe(200);
    expect((await call('POST', '/v1/lines/line-0/leases', { max: 1, waitMs: 0, residents: [] }, mine)).status).toBe(403);
    expect((await call('POST', '/v1/lines/line-0/heartbeat', heartbeatOf('a'), mine)).status).toBe(403);
    const unknown = await call(
      'POST',
      '/v1/lines/line-9/heartbeat',
      heartbeatOf('a'),
      bearer(lineTokens.issue('flights', 'line-9')),
    );
    expect([unknown.status, unknown.json['code']]).toEqual([404, 'PDL_LINE_UNKNOWN']);
  });

  it('stands in no log, and the audit log has a line for each call that changes something or was refused', async () => {
    const { call, logged, coordinator } = await apiBench({
      tokens: [entryOf('a-secret-token', { name: 'ci', scopes: ['submit'] })],
    });
    await call('POST', '/v1/pipelines/flights/shards', shard('a'), bearer('a-secret-token'));
    await call('POST', '/v1/pipelines/flights/shards', `${JSON.stringify(shard('b'))}\n{}\n`, {
      ...bearer('a-secret-token'),
      'content-type': 'application/x-ndjson',
    });
    await call('POST', '/v1/pipelines/flights/pause', undefined, bearer('a-secret-token'));
    await call('GET', '/v1/pipelines?token=a-secret-token', undefined, bearer('another-secret'));
    await call('GET', '/v1/pipelines');
    await coordinator.pipelines();
    const audit = logged.filter((line) => line['audit'] === true);
    expect(audit).toMatchObject([
      { who: 'ci', method: 'POST', path: '/v1/pipelines/flights/shards', status: 200, outcome: 'done' },
      { who: 'ci', status: 200, outcome: 'done', answers: { accepted: 1, duplicate: 0, rejected: 1 } },
      { who: 'ci', path: '/v1/pipelines/flights/pause', status: 403, outcome: 'refused' },
      { who: 'unknown', path: '/v1/pipelines', status: 401, outcome: 'refused' },
    ]);
    expect(audit).toHaveLength(4);
    expect(JSON.stringify(logged)).not.toMatch(/secret|the-operator/);
  });

  it('of a line leaves no line in the audit log for what comes thousands of times a second, unless it was refused', async () => {
    const { call, coordinator, lineTokens, logged } = await apiBench();
    await coordinator.submit('flights', [{ key: 'a', source: { uri: '/a', format: 'csv' }, parameters: {}, priority: 5 }]);
    const mine = bearer(lineTokens.issue('flights', 'line-0'));
    const tell = (what: string, body: unknown, headers = mine): ReturnType<typeof call> =>
      call('POST', `/v1/lines/line-0/${what}`, body, headers);
    await tell('hello', helloOf('a'));
    const leased = await tell('leases', { max: 1, waitMs: 0, residents: [] });
    const [lease] = leased.json['leases'] as { shardId: string; epoch: number }[];
    await tell('heartbeat', heartbeatOf('a'));
    const complete = completeOf(lease?.shardId ?? '', lease?.epoch ?? 0);
    expect((await tell('complete', complete, bearer(lineTokens.issue('flights', 'line-1')))).status).toBe(403);
    expect((await tell('complete', complete)).status).toBe(200);
    expect(logged.filter((line) => line['audit'] === true)).toMatchObject([
      { path: '/v1/lines/line-0/hello', outcome: 'done' },
      { path: '/v1/lines/line-0/complete', outcome: 'refused' },
    ]);
  });

  it('that is taken back ends its event stream', async () => {
    const { server, tokens } = await apiBench({ tokens: [entryOf('watcher')], bounds: { sseQuietMs: 20 } });
    const answer = await fetch(`${server.url}/v1/events`, { headers: bearer('watcher') });
    const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    while (!text.includes('still here')) text += (await reader?.read())?.value ?? '';
    tokens.replace([]);
    // The stream ends; until then it may say once more that it is still there.
    for (let done = false; !done;) done = (await reader?.read())?.done ?? true;
    expect(text).toContain('retry: 1000');
  });

  it('that may do less than before ends the event stream that it may not read any more', async () => {
    const { server, tokens, coordinator } = await apiBench({
      tokens: [entryOf('watcher')],
      pipelines: [pipelineOf('flights'), pipelineOf('other')],
      bounds: { sseQuietMs: 20 },
    });
    const readerOf = async (query: string): Promise<ReadableStreamDefaultReader<string>> => {
      const answer = await fetch(`${server.url}/v1/events${query}`, { headers: bearer('watcher') });
      const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader() ?? expect.fail('no stream');
      expect((await reader.read()).value).toContain('retry: 1000');
      return reader;
    };
    const [all, theirs] = [await readerOf(''), await readerOf('?pipeline=other')];
    tokens.replace([entryOf('watcher', { pipelines: ['other'] })]);
    for (let done = false; !done;) done = (await all.read()).done;
    await coordinator.submit('other', [{ key: 'b', source: { uri: '/b', format: 'csv' }, parameters: {}, priority: 5 }]);
    let text = '';
    while (!text.includes('shard.submitted')) text += (await theirs.read()).value ?? expect.fail('it ended, too');
    await theirs.cancel();
  });
});

describe('sources and result directories', () => {
  it('are taken from allowed places only, each submission by itself, symlinks resolved', async () => {
    const root = folder();
    const outside = folder();
    mkdirSync(join(root, 'in'));
    symlinkSync(outside, join(root, 'out'));
    const allowed = allowedSchema.parse({
      sources: { roots: [join(root, 'in')], hosts: ['data.example.org'] },
      results: { roots: [root] },
    });
    const { client, call } = await apiBench({
      allowed,
      pipelines: [pipelineOf('flights', { result: { dir: join(root, 'results') } })],
    });
    const from = (uri: string, resultDir?: string): Parameters<typeof client.submitAll>[1][number] => ({
      key: `${uri} ${resultDir ?? ''}`,
      source: { uri, format: 'csv' },
      ...(resultDir === undefined ? {} : { resultDir }),
    });
    const answers = await client.submitAll('flights', [
      from(join(root, 'in', 'a.csv')),
      from('https://data.example.org/a.csv?sig=secret'),
      { key: 'inline', source: { inline: [{ a: 1 }], format: 'csv' } },
      from(join(root, 'in', '..', 'a.csv')),
      from(join(root, 'in', '..', '..', 'etc', 'passwd')),
      from('/etc/passwd'),
      from('file:///etc/passwd'),
      from('https://evil.example.org/a.csv?sig=secret'),
      from('http://data.example.org/a.csv'),
      from('http://169.254.169.254/latest/meta-data'),
      from(join(root, 'in', 'a.csv'), join(root, 'out', 'results')),
      from(join(root, 'in', 'a.csv'), '/var/results'),
      from(join(root, 'in', 'a.csv'), join(root, 'elsewhere')),
    ]);
    expect(answers.map(({ outcome }) => outcome)).toEqual([
      ...['accepted', 'accepted', 'accepted'],
      ...Array.from({ length: 9 }, () => 'rejected'),
      'accepted',
    ]);
    for (const answer of answers)
      if (answer.outcome === 'rejected') {
        expect(answer.error.code).toBe('PDL_PLACE_FORBIDDEN');
        expect(answer.error.message).not.toContain('secret');
      }
    const alone = await call(
      'POST',
      '/v1/pipelines/flights/shards',
      shard('x', { source: { uri: '/etc/passwd', format: 'csv' } }),
    );
    expect([alone.status, alone.json['code']]).toEqual([403, 'PDL_PLACE_FORBIDDEN']);
    const welcome = await call('POST', '/v1/lines/line-0/hello', helloOf('a'));
    expect(welcome.json['allowed']).toEqual(allowed);
  });
});

describe('what a shard left', () => {
  it('is not told to whoever may not read it', async () => {
    const { call, coordinator, client, server } = await apiBench({ tokens: [entryOf('stranger', { pipelines: ['other'] })] });
    await client.submit('flights', { key: 'a', source: { uri: '/a', format: 'csv' } });
    const failed = await failOne(coordinator);
    await client.submit('flights', { key: 'b', source: { uri: '/b', format: 'csv' } });
    const completed = await completeOne(coordinator);
    for (const path of [
      `/v1/shards/${completed}/result`,
      `/v1/shards/${completed}/result/files/out.arrow`,
      `/v1/shards/${failed}/explain`,
    ])
      expect((await call('GET', path, undefined, bearer('stranger'))).status, path).toBe(404);
    const stranger = PodlineClient.connect(server.url, 'stranger');
    await expect(stranger.replay('flights')).rejects.toMatchObject({ code: 'PDL_FORBIDDEN' });
    await stranger.close();
  });
});
