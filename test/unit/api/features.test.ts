import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Script } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { PodlineClient } from '../../../runtime/api/client.js';
import { parseRange } from '../../../runtime/api/result-files.js';
import { apiBench, completeOne, failOne, type ApiBench } from '../../support/api.js';
import { folder, pipelineOf } from '../../support/journal.js';

const of = (key: string): { key: string; source: { uri: string; format: 'csv' } } => ({
  key,
  source: { uri: `/data/${key}`, format: 'csv' },
});

/** The same client in process and over HTTP. */
const clients = ({ client, coordinator }: ApiBench): [string, PodlineClient][] => [
  ['over HTTP', client],
  ['in process', PodlineClient.local(coordinator)],
];

const together = async (pieces: AsyncIterable<Uint8Array>): Promise<string> => {
  const parts: Uint8Array[] = [];
  for await (const piece of pieces) parts.push(Buffer.from(piece));
  return Buffer.concat(parts).toString();
};

describe('a request in simple words', () => {
  it('is a task, a payload and a result directory, and the same again is the same shard', async () => {
    const bench = await apiBench({ pipelines: [pipelineOf('flights', { input: { format: 'ndjson' } })] });
    const request = { task: 'flights', payload: [{ delay: 3 }], resultDir: '/results/one' };
    for (const [way, client] of clients(bench)) {
      const first = await client.request({ ...request, payload: [{ way }] });
      expect(first.outcome).toBe('accepted');
      expect(await client.request({ ...request, payload: [{ way }] })).toMatchObject({ outcome: 'duplicate' });
      const shard = await client.get(first.outcome === 'accepted' ? first.id : '');
      expect(shard).toMatchObject({ source: { inline: [{ way }], format: 'ndjson' }, resultDir: '/results/one' });
      expect(await client.request({ task: 'flights', payload: { uri: '/data/a.ndjson' }, key: way })).toMatchObject({ key: way });
      expect(await client.getByKey('flights', way)).toMatchObject({ source: { uri: '/data/a.ndjson', format: 'ndjson' } });
      await expect(client.request({ task: 'flihgts', payload: 'x' })).rejects.toMatchObject({
        code: 'PDL_PIPELINE_UNKNOWN',
        hint: 'Did you mean flights?',
      });
      for (const missing of ['task', 'payload']) {
        const { [missing]: _, ...others } = { ...request } as Record<string, unknown>;
        await expect(client.request(others as never)).rejects.toMatchObject({
          code: 'PDL_REQUEST_INVALID',
          place: `body.${missing}`,
        });
      }
    }
  });

  it('takes its key from Idempotency-Key where it names none, and so does a submission', async () => {
    const { call } = await apiBench();
    const post = async (path: string, body: unknown): Promise<unknown[]> => {
      const { json } = await call('POST', path, body, { 'idempotency-key': 'once' });
      return [json['outcome'], json['key']];
    };
    expect(await post('/v1/requests', { task: 'flights', payload: 'x' })).toEqual(['accepted', 'once']);
    expect(await post('/v1/requests', { task: 'flights', payload: 'y' })).toEqual(['duplicate', 'once']);
    expect(await post('/v1/pipelines/flights/shards', { source: { inline: 'z', format: 'csv' } })).toEqual(['duplicate', 'once']);
    expect(await post('/v1/pipelines/flights/shards', of('mine'))).toEqual(['accepted', 'mine']);
  });
});

describe('dead letters', () => {
  it('are listed with their errors, and replayed by id, by filter, or all', async () => {
    const bench = await apiBench();
    const { coordinator, client } = bench;
    const ids: string[] = [];
    for (const [key, code] of [
      ['a-1', 'PDL_STAGE_OUTPUT'],
      ['a-2', 'PDL_STAGE_FAILED'],
      ['b-1', 'PDL_STAGE_OUTPUT'],
    ] as const) {
      await client.submit('flights', of(key));
      ids.push(await failOne(coordinator, code));
    }
    await client.submit('flights', of('pending'));
    expect((await client.deadLetters('flights')).shards.map(({ key, error }) => [key, error?.code])).toEqual([
      ['a-1', 'PDL_STAGE_OUTPUT'],
      ['a-2', 'PDL_STAGE_FAILED'],
      ['b-1', 'PDL_STAGE_OUTPUT'],
    ]);
    expect(
      (await client.deadLetters('flights', { code: 'PDL_STAGE_OUTPUT', keyPrefix: 'a' })).shards.map(({ key }) => key),
    ).toEqual(['a-1']);
    const pending = await client.getByKey('flights', 'pending');
    const answer = await client.replay('flights', { ids: [ids[0] ?? '', pending.id, 'nothing'] });
    expect(answer).toMatchObject({ replayed: [ids[0]], more: false });
    expect(answer.skipped.map(({ id, error }) => [id, error.code])).toEqual([
      [pending.id, 'PDL_SHARD_STATE'],
      ['nothing', 'PDL_SHARD_UNKNOWN'],
    ]);
    expect(await PodlineClient.local(coordinator).replay('flights', { keyPrefix: 'b' })).toEqual({
      replayed: [ids[2]],
      skipped: [],
      more: false,
    });
    expect(await client.replay('flights')).toEqual({ replayed: [ids[1]], skipped: [], more: false });
    expect((await client.deadLetters('flights')).shards).toEqual([]);
    expect((await client.get(ids[0] ?? '')).state).toBe('pending');
  });

  it('are replayed a bounded number at a time', async () => {
    const { coordinator, client } = await apiBench();
    for (const key of ['a', 'b', 'c']) {
      await client.submit('flights', of(key));
      await failOne(coordinator);
    }
    expect(await client.replay('flights', { max: 2 })).toMatchObject({ replayed: { length: 2 }, more: true });
    expect(await client.replay('flights', { max: 2 })).toMatchObject({ replayed: { length: 1 }, more: false });
  });
});

describe('the list of shards', () => {
  it('is filtered, over as many pages as it takes', async () => {
    const { client, coordinator } = await apiBench();
    await client.submitAll(
      'flights',
      Array.from({ length: 50 }, (_, index) => of(`${index % 10 === 0 ? 'x' : 'y'}-${String(index)}`)),
    );
    const found: string[] = [];
    for await (const { key } of client.listAll('flights', { keyPrefix: 'x', max: 2 })) found.push(key);
    expect(found).toEqual(['x-0', 'x-10', 'x-20', 'x-30', 'x-40']);
    await completeOne(coordinator);
    const keys = async (query: Parameters<typeof client.list>[1]): Promise<string[]> =>
      (await client.list('flights', query)).shards.map(({ key }) => key);
    expect(await keys({ line: 'line-0' })).toEqual(['x-0']);
    expect(await keys({ submittedFrom: '2999-01-01T00:00:00Z' })).toEqual([]);
    expect(await keys({ submittedTo: '2999-01-01T00:00:00Z', state: 'completed' })).toEqual(['x-0']);
    await expect(client.list('flights', { submittedFrom: 'yesterday' })).rejects.toMatchObject({ code: 'PDL_REQUEST_INVALID' });
  });
});

describe('a result', () => {
  const content = 'abcdefghij'.repeat(10);
  const sha256 = createHash('sha256').update(content).digest('hex');
  const delivered = async (): Promise<ApiBench & { id: string; dir: string; results: string }> => {
    const results = folder();
    const dir = join(results, 'a');
    mkdirSync(join(dir, 'deep'), { recursive: true });
    writeFileSync(join(dir, 'out.csv'), content);
    writeFileSync(join(dir, 'deep', 'ä b.bin'), 'deep');
    writeFileSync(join(results, 'secret'), 'secret');
    symlinkSync(join(results, 'secret'), join(dir, 'link'));
    const bench = await apiBench({ pipelines: [pipelineOf('flights', { result: { dir: results } })] });
    await bench.client.submit('flights', of('a'));
    const file = (name: string): { name: string; bytes: number; sha256: string } => ({ name, bytes: content.length, sha256 });
    const id = await completeOne(bench.coordinator, {
      dir,
      files: ['out.csv', 'deep/ä b.bin', 'link', '../secret', 'gone'].map(file),
    });
    return { ...bench, id, dir, results };
  };

  it('is listed, and its files are streamed, whole or in part, in process and over HTTP', async () => {
    const bench = await delivered();
    for (const [way, client] of clients(bench)) {
      expect((await client.result(bench.id)).files[0], way).toEqual({ name: 'out.csv', bytes: 100, sha256 });
      expect(await together(client.resultFile(bench.id, 'out.csv'))).toBe(content);
      expect(await together(client.resultFile(bench.id, 'out.csv', { from: 95 }))).toBe('fghij');
      expect(await together(client.resultFile(bench.id, 'out.csv', { from: 2, to: 5 }))).toBe('cde');
      expect(await together(client.resultFile(bench.id, 'deep/ä b.bin'))).toBe('deep');
      await expect(together(client.resultFile(bench.id, 'out.csv', { from: 100 }))).rejects.toMatchObject({
        code: 'PDL_REQUEST_INVALID',
      });
    }
  });

  it('is never anything but what lies in its own folder', async () => {
    const bench = await delivered();
    for (const [way, client] of clients(bench))
      for (const name of ['link', '../secret', 'gone', 'other.csv', '/etc/passwd', '..', ''])
        await expect(together(client.resultFile(bench.id, name)), `${way} ${name}`).rejects.toMatchObject({
          code: expect.stringMatching(/PDL_(RESULT_MISSING|REQUEST_INVALID|PATH_UNKNOWN)/),
        });
    // A line that lies of where it delivered.
    await bench.client.submit('flights', of('b'));
    const id = await completeOne(bench.coordinator, { dir: '/etc', files: [{ name: 'passwd', bytes: 1, sha256 }] });
    await expect(together(bench.client.resultFile(id, 'passwd'))).rejects.toMatchObject({ code: 'PDL_RESULT_MISSING' });
    // One that names the folder of another shard, and one that has put a link in the place of its own.
    await bench.client.submit('flights', of('d'));
    const other = await completeOne(bench.coordinator, { dir: bench.dir, files: [{ name: 'out.csv', bytes: 100, sha256 }] });
    await expect(together(bench.client.resultFile(other, 'out.csv'))).rejects.toMatchObject({ code: 'PDL_RESULT_MISSING' });
    const elsewhere = folder();
    writeFileSync(join(elsewhere, 'secret'), 'secret');
    symlinkSync(elsewhere, join(bench.results, 'e'));
    await bench.client.submit('flights', of('e'));
    const linked = await completeOne(bench.coordinator, {
      dir: join(bench.results, 'e'),
      files: [{ name: 'secret', bytes: 6, sha256 }],
    });
    await expect(together(bench.client.resultFile(linked, 'secret'))).rejects.toMatchObject({ code: 'PDL_RESULT_MISSING' });
    await bench.client.submit('flights', of('c'));
    await expect(bench.client.result((await bench.client.getByKey('flights', 'c')).id)).rejects.toMatchObject({
      code: 'PDL_RESULT_MISSING',
    });
    rmSync(bench.dir, { recursive: true });
    await expect(together(bench.client.resultFile(bench.id, 'out.csv'))).rejects.toMatchObject({ code: 'PDL_RESULT_MISSING' });
  });

  it('answers ranges and conditions as HTTP has them', async () => {
    const { call, id } = await delivered();
    const get = (headers: Record<string, string>): ReturnType<typeof call> =>
      call('GET', `/v1/shards/${id}/result/files/out.csv`, undefined, headers);
    const whole = await get({});
    expect([whole.status, whole.headers.get('content-length'), whole.headers.get('accept-ranges')]).toEqual([
      200,
      '100',
      'bytes',
    ]);
    expect(whole.headers.get('content-type')).toMatch(/^text\/csv/);
    const etag = whole.headers.get('etag') ?? '';
    expect(etag).toBe(`"${sha256}"`);
    expect((await get({ 'if-none-match': etag })).status).toBe(304);
    expect((await get({ 'if-none-match': `W/${etag}, "x"` })).status).toBe(304);
    const part = await get({ range: 'bytes=-3' });
    expect([part.status, part.text, part.headers.get('content-range')]).toEqual([206, 'hij', 'bytes 97-99/100']);
    expect((await get({ range: 'bytes=0-1', 'if-range': '"other"' })).status).toBe(200);
    expect((await get({ range: 'bytes=0-1', 'if-range': etag })).text).toBe('ab');
    const beyond = await get({ range: 'bytes=100-' });
    expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, 'bytes */100']);
    expect((await get({ range: 'bytes=0-1,4-5' })).status).toBe(200);
    expect([parseRange('bytes=5-2'), parseRange('lines=1-2'), parseRange('bytes=-'), parseRange(undefined)]).toEqual(
      Array.from({ length: 4 }),
    );
  });
});

describe('ETags', () => {
  it('make an apply conditional on the revision', async () => {
    const { call, client } = await apiBench();
    const read = await call('GET', '/v1/pipelines/flights');
    const etag = read.headers.get('etag') ?? '';
    expect(etag).toBe('"1"');
    const changed = (slots: number): unknown => JSON.parse(JSON.stringify(pipelineOf('flights', { slots })));
    const put = async (slots: number, headers: Record<string, string>, name = 'flights'): Promise<number> =>
      (await call('PUT', `/v1/pipelines/${name}`, { ...(changed(slots) as object), name }, headers)).status;
    const statuses = await Promise.all([
      put(3, { 'if-match': etag }),
      put(4, { 'if-match': etag }),
      put(5, { 'if-match': etag }),
    ]);
    expect(statuses.toSorted()).toEqual([200, 412, 412]);
    expect(await put(6, { 'if-none-match': '*' })).toBe(412);
    expect(await put(6, { 'if-none-match': '*' }, 'fresh')).toBe(200);
    expect(await put(6, { 'if-match': '*' }, 'absent')).toBe(412);
    expect((await client.pipeline('flights')).revision).toBe(2);
  });

  it('spare an answer that has not changed', async () => {
    const { call, client, coordinator } = await apiBench();
    await client.submit('flights', of('a'));
    const path = '/v1/shards/test-0000001';
    const etag = (await call('GET', path)).headers.get('etag') ?? '';
    expect([(await call('GET', path, undefined, { 'if-none-match': etag })).status]).toEqual([304]);
    await completeOne(coordinator);
    expect((await call('GET', path, undefined, { 'if-none-match': etag })).status).toBe(200);
    const document = await call('GET', '/v1/openapi.json', undefined, { authorization: '' });
    expect(
      (await call('GET', '/v1/openapi.json', undefined, { 'if-none-match': document.headers.get('etag') ?? '' })).status,
    ).toBe(304);
  });
});

describe('the contract of a pipeline', () => {
  const cells = { delay: 1, name: 'x', wide: 5, list: [1] };
  const good = { key: 'a', source: { inline: [cells], format: 'ndjson' }, parameters: { least: 3 } };
  const inline = (payload: unknown): Record<string, unknown> => ({ ...good, source: { inline: payload, format: 'ndjson' } });
  const row = (some: Record<string, unknown>): Record<string, unknown> => inline([{ ...cells, ...some }]);
  const { name: _, ...nameless } = cells;
  const table: [what: string, submission: Record<string, unknown>, fits: boolean][] = [
    ['good', good, true],
    ['by address', { ...good, source: { uri: '/a', format: 'ndjson' } }, true],
    ['another format of tables, by address', { ...good, source: { uri: '/a', format: 'parquet' } }, true],
    ['bytes, by address', { ...good, source: { uri: '/a', format: 'bytes' } }, false],
    ['bytes, inline', { ...good, source: { inline: 'abc', format: 'bytes' } }, false],
    ['no rows', inline([]), true],
    ['one row', inline(cells), true],
    ['a column more', row({ more: true }), true],
    ['missing values', row({ delay: null, name: null }), true],
    ['a text', inline('{"delay":1,"name":"x"}\n'), true],
    ['base64', inline({ base64: 'e30K' }), true],
    ['a number', inline(1), false],
    ['nothing', inline(null), false],
    ['without a column', inline([nameless]), false],
    ['one row without a column', inline(nameless), false],
    ['the second row without a column', inline([cells, nameless]), false],
    ['nonsense', inline([{ nonsense: true }]), false],
    ['a row that is none', inline([cells, 2]), false],
    ['text in a column of numbers', row({ delay: 'late' }), false],
    ['a fraction in a column of whole numbers', row({ delay: 1.5 }), false],
    ['a number that is too large for its column', row({ delay: 32_768 }), false],
    ['a number in a column of text', row({ name: 7 }), false],
    ['a wide number as text', row({ wide: '9007199254740993' }), true],
    ['truth in a column of wide numbers', row({ wide: true }), false],
    ['a list', row({ list: [1, null] }), true],
    ['a list of something else', row({ list: ['a'] }), false],
    ['without a parameter', { ...good, parameters: {} }, false],
    ['an unknown parameter', { ...good, parameters: { least: 3, most: 4 } }, false],
    ['a value beyond', { ...good, parameters: { least: -1 } }, false],
    ['a group', { ...good, group: 'large' }, true],
    ['an unknown group', { ...good, group: 'lagre' }, false],
    ['an unknown field', { ...good, colour: 'red' }, false],
  ];
  const pipeline = pipelineOf('flights', {
    description: 'Delays by airport.',
    input: { format: 'ndjson', columns: { delay: 'int16', name: 'utf8', wide: 'int64', list: 'list<int32>' } },
    parameters: { least: { type: 'integer', minimum: 0 }, unit: { type: 'string', enum: ['min', 'h'], default: 'min' } },
    groups: [{ name: 'large' }],
  });

  it('is served as JSON Schema that takes what the API takes, and nothing else', async () => {
    const bench = await apiBench({ pipelines: [pipeline] });
    const schema = await bench.client.inputSchema('flights');
    expect(await PodlineClient.local(bench.coordinator).inputSchema('flights')).toEqual(schema);
    expect(schema).toMatchObject({ description: 'Delays by airport.', required: ['key', 'source', 'parameters'] });
    const served = z.fromJSONSchema(schema);
    const takes = async (path: string, body: unknown): Promise<boolean> => (await bench.call('POST', path, body)).status === 200;
    for (const [index, [what, submission, fits]] of table.entries()) {
      expect(served.safeParse(submission).success, `${what}, the schema`).toBe(fits);
      const shard = { ...submission, key: `shard-${String(index)}` };
      expect(await takes('/v1/pipelines/flights/shards', shard), `${what}, as a shard`).toBe(fits);
      const { source, ...others } = submission as { source: { uri?: string; inline?: unknown; format: string } };
      // Simple words name neither format nor group.
      if (source.format !== 'ndjson' || 'group' in others) continue;
      const payload = source.uri === undefined ? source.inline : { uri: source.uri };
      const request = { ...others, task: 'flights', payload, key: `request-${String(index)}` };
      expect(await takes('/v1/requests', request), `${what}, as a request`).toBe(fits);
    }
  });

  it('is told by what does not fit: its place and the way out', async () => {
    const bench = await apiBench({ pipelines: [pipeline] });
    const stream = [row({ delay: 'late' }), { ...good, key: 'b' }, { ...good, source: { uri: '/a', format: 'bytes' } }];
    const answer = await bench.call(
      'POST',
      '/v1/pipelines/flights/shards',
      stream.map((submission) => `${JSON.stringify(submission)}\n`).join(''),
      { 'content-type': 'application/x-ndjson' },
    );
    const [first, second, third] = answer.text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown);
    expect(first).toMatchObject({
      outcome: 'rejected',
      error: {
        code: 'PDL_REQUEST_INVALID',
        place: 'source.inline.0.delay',
        message: expect.stringContaining('received string') as string,
        hint: expect.stringContaining('/v1/pipelines/flights/schema') as string,
      },
    });
    expect(second).toMatchObject({ outcome: 'accepted' });
    expect(third).toMatchObject({
      outcome: 'rejected',
      error: { place: 'source.format', message: 'pipeline flights reads ndjson, not bytes' },
    });
  });
});

describe('paths', () => {
  it('that are not there are 404, and other methods of those that are, 405 with what is allowed', async () => {
    const { call, server } = await apiBench();
    const nowhere = await call('GET', '/v1/nowhere?secret=x');
    expect([nowhere.status, nowhere.json['code'], nowhere.json['detail']]).toEqual([
      404,
      'PDL_PATH_UNKNOWN',
      'there is no GET /v1/nowhere',
    ]);
    for (const [method, path, allow] of [
      ['PATCH', '/v1/pipelines/flights', 'DELETE, GET, PUT'],
      ['DELETE', '/v1/pipelines/flights/shards', 'GET, POST'],
      ['PATCH', '/v1/pipelines/flights/shards', 'GET, POST'],
      ['PUT', '/v1/events', 'GET'],
      ['OPTIONS', '/v1/shards/x', 'GET'],
      ['POST', '/healthz', 'GET'],
    ] as const) {
      const answer = await call(method, path, method === 'OPTIONS' ? undefined : {});
      expect([answer.status, answer.headers.get('allow'), answer.json['code']], `${method} ${path}`).toEqual([
        405,
        allow,
        'PDL_PATH_UNKNOWN',
      ]);
    }
    expect((await fetch(`${server.url}/v1/shards/x`, { method: 'DELETE' })).status).toBe(401);
  });

  it('without a token are health, readiness, the document and its page', async () => {
    const now: { why?: string } = {};
    const { call } = await apiBench({ whyNotReady: async () => now.why });
    for (const path of ['/healthz', '/readyz', '/v1/openapi.json', '/v1/docs'])
      expect((await call('GET', path, undefined, { authorization: '' })).status, path).toBe(200);
    now.why = 'it is ending';
    const answer = await call('GET', '/readyz', undefined, { authorization: '' });
    expect([answer.status, answer.json['detail']]).toEqual([503, 'it is ending']);
  });

  it('are shown on a page that needs nothing from elsewhere', async () => {
    const { call } = await apiBench();
    const { text, headers } = await call('GET', '/v1/docs', undefined, { authorization: '' });
    expect(headers.get('content-security-policy')).toMatch(/^default-src 'none'; connect-src 'self'/);
    expect(text).not.toMatch(/https?:\/\/|src=|<link/);
    const script = /<script>([^]*)<\/script>/.exec(text)?.[1] ?? '';
    const style = /<style>([^]*)<\/style>/.exec(text)?.[1] ?? '';
    for (const part of [script, style])
      expect(headers.get('content-security-policy')).toContain(createHash('sha256').update(part).digest('base64'));
    expect(() => new Script(script)).not.toThrow();
  });
});
