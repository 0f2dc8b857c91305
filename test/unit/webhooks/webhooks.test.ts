import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { addressesSchema } from '../../../runtime/contracts/access.js';
import { systemClock } from '../../../runtime/platform/clock.js';
import { noticesOf, pauseMs } from '../../../runtime/webhooks/notices.js';
import { isSigned, signNotice, type SignedHeaders } from '../../../runtime/access/signature.js';
import { Webhooks } from '../../../runtime/webhooks/webhooks.js';
import { apiBench, completeOne, failOne, recorder, type ApiBench } from '../../support/api.js';
import { pipelineOf } from '../../support/journal.js';
import { until } from '../../support/until.js';

const secret = 'a-secret-of-a-taker-of-notices';

interface Taker {
  url: string;
  taken: { id: string; body: { type: string; data: Record<string, unknown> }; isSigned: boolean; traceparent: unknown }[];
  answer: () => { status: number; headers?: Record<string, string> };
}

async function taker(): Promise<Taker> {
  const state: Pick<Taker, 'taken' | 'answer'> = { taken: [], answer: () => ({ status: 200 }) };
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString()));
    request.on('end', () => {
      const headers = request.headers as IncomingHttpHeaders & SignedHeaders;
      state.taken.push({
        id: headers['webhook-id'],
        body: JSON.parse(text) as Taker['taken'][number]['body'],
        isSigned: isSigned(secret, headers, text, Date.now() / 1_000),
        traceparent: headers['traceparent'],
      });
      const { status, headers: more } = state.answer();
      response.writeHead(status, more).end();
    });
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return Object.assign(state, { url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/done?key=secret` });
}

const clock = { ...systemClock, after: (_ms: number, callback: () => void) => systemClock.after(0, callback) };
const loopback = addressesSchema.parse({ hosts: ['*'], schemes: ['http'], privateAddresses: true });

async function telling(
  { journal }: ApiBench,
  options: Partial<ConstructorParameters<typeof Webhooks>[0]> = {},
): Promise<{ webhooks: Webhooks; logged: Record<string, unknown>[] }> {
  const logged: Record<string, unknown>[] = [];
  const webhooks = new Webhooks({
    journal,
    secrets: ['a-newer-secret-that-signs-as-well', secret],
    allowed: loopback,
    logger: recorder(logged),
    clock,
    random: () => 0,
    ...options,
  });
  await webhooks.start();
  onTestFinished(() => webhooks.close());
  return { webhooks, logged };
}

const hooked = (...webhooks: { url: string; on?: string[] }[]): Promise<ApiBench> =>
  apiBench({ pipelines: [pipelineOf('flights', { webhooks })] });
const submit = ({ client }: ApiBench, key: string): Promise<unknown> =>
  client.submit('flights', { key, source: { uri: `/${key}`, format: 'csv' } });

describe('webhooks', () => {
  it('tell of each ending that was asked for, signed, once, and the mark follows', async () => {
    const [all, failures] = [await taker(), await taker()];
    const bench = await hooked({ url: all.url }, { url: failures.url, on: ['failed'] });
    await telling(bench);
    await submit(bench, 'a');
    const completed = await completeOne(bench.coordinator);
    await submit(bench, 'b');
    const failed = await failOne(bench.coordinator);
    await until(() => all.taken.length === 2 && failures.taken.length === 1);
    expect(all.taken.map(({ body: { type, data }, isSigned: signed }) => [type, data['shardId'], data['state'], signed])).toEqual(
      [
        ['shard.completed', completed, 'completed', true],
        ['shard.failed', failed, 'failed', true],
      ],
    );
    expect(failures.taken[0]).toMatchObject({ id: all.taken[1]?.id, body: { data: { code: 'PDL_STAGE_OUTPUT' } } });
    const last = await bench.journal.lastEventId();
    await until(async () => (await bench.journal.noticedUntil()) === last);
  });

  it('are sent again under the same id until they are taken, and one that is away delays no other', async () => {
    const [away, there] = [await taker(), await taker()];
    away.answer = () => ({ status: away.taken.length < 4 ? 503 : 204 });
    const bench = await hooked({ url: away.url }, { url: there.url });
    await telling(bench);
    await submit(bench, 'a');
    await completeOne(bench.coordinator);
    await until(() => away.taken.length === 4 && there.taken.length === 1);
    expect(new Set([...away.taken, ...there.taken].map(({ id }) => id)).size).toBe(1);
  });

  it('go on behind the mark after a restart, with what was not settled', async () => {
    const end = await taker();
    end.answer = () => ({ status: 503 });
    const bench = await hooked({ url: end.url });
    const first = await telling(bench);
    await submit(bench, 'a');
    const id = await completeOne(bench.coordinator);
    await until(() => end.taken.length > 0);
    await first.webhooks.close();
    await submit(bench, 'b');
    await completeOne(bench.coordinator);
    end.taken.length = 0;
    end.answer = () => ({ status: 200 });
    await telling(bench);
    await until(() => end.taken.length === 2);
    expect(end.taken[0]?.body.data['shardId']).toBe(id);
  });

  it('are given up after so many tries, or at once where nobody wants them, and it is logged without the query', async () => {
    const [never, gone] = [await taker(), await taker()];
    never.answer = () => ({ status: 500 });
    gone.answer = () => ({ status: 410 });
    const bench = await hooked({ url: never.url }, { url: gone.url });
    const { logged } = await telling(bench, { triesMax: 3 });
    await submit(bench, 'a');
    await completeOne(bench.coordinator);
    await until(() => logged.filter(({ level }) => level === 'error').length === 2);
    expect([never.taken.length, gone.taken.length]).toEqual([3, 1]);
    expect(JSON.stringify(logged)).not.toContain('secret');
    const last = await bench.journal.lastEventId();
    await until(async () => (await bench.journal.noticedUntil()) === last);
  });

  it('go to no address that is not allowed, and follow no redirect', async () => {
    const [inside, leading] = [await taker(), await taker()];
    leading.answer = () => ({ status: 307, headers: { location: inside.url } });
    const bench = await hooked({ url: inside.url.replace('127.0.0.1', 'localhost') }, { url: leading.url });
    const { logged } = await telling(bench, { allowed: { ...loopback, hosts: [new URL(leading.url).host] } });
    await submit(bench, 'a');
    await completeOne(bench.coordinator);
    await until(() => logged.filter(({ level }) => level === 'error').length === 2);
    expect([inside.taken.length, leading.taken.length]).toEqual([0, 1]);
    const strict = await hooked({ url: inside.url });
    const { logged: refused } = await telling(strict, { allowed: { ...loopback, privateAddresses: false } });
    await submit(strict, 'a');
    await completeOne(strict.coordinator);
    await until(() => refused.some(({ level, reason }) => level === 'error' && String(reason).includes('loopback')));
    expect(inside.taken.length).toBe(0);
  });

  it('callbacks of submissions are told beside them, under their trace, and each address once', async () => {
    const [own, hook] = [await taker(), await taker()];
    const bench = await apiBench({ callbacks: loopback, pipelines: [pipelineOf('flights', { webhooks: [{ url: hook.url }] })] });
    await telling(bench);
    const trace = { traceparent: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01` };
    const source = { uri: '/a', format: 'csv' } as const;
    await bench.client.submit('flights', { key: 'a', source, trace, callback: { url: own.url } });
    const id = await completeOne(bench.coordinator);
    await bench.client.submit('flights', { key: 'b', source, callback: { url: hook.url } });
    await bench.client.cancel((await bench.client.getByKey('flights', 'b')).id);
    await until(async () => (await bench.journal.noticedUntil()) === (await bench.journal.lastEventId()));
    expect(own.taken).toMatchObject([{ isSigned: true, body: { data: { shardId: id, key: 'a', state: 'completed', trace } } }]);
    expect(own.taken[0]?.traceparent).toBe(trace.traceparent);
    expect(JSON.stringify(own.taken)).not.toContain('callback');
    expect(hook.taken.map(({ body }) => [body.data['key'], body.data['state']])).toEqual([
      ['a', 'completed'],
      ['b', 'cancelled'],
    ]);
  });

  it('callbacks that lead where webhooks may not are refused when they are handed in', async () => {
    const strict = await apiBench({ callbacks: addressesSchema.parse({ hosts: ['hooks.example.org'] }) });
    const none = await apiBench();
    const to = (bench: ApiBench, url: string): Promise<{ status: number; json: Record<string, unknown> }> =>
      bench.call('POST', '/v1/requests', { task: 'flights', payload: 'x', key: 'a', callback: { url } });
    for (const url of ['http://hooks.example.org/', 'https://elsewhere.example.org/', 'https://u:p@hooks.example.org/', 'x'])
      expect(await to(strict, url)).toMatchObject({ status: 403, json: { code: 'PDL_PLACE_FORBIDDEN' } });
    expect((await to(strict, 'https://hooks.example.org/done?key=1')).status).toBe(200);
    expect((await to(none, 'https://hooks.example.org/')).json['detail']).toContain('webhooks.secret');
  });

  it('are signed so that neither body, id nor time can be changed, and an old one is refused', () => {
    const headers = signNotice([secret], 'id', 1_000, 'body');
    expect(isSigned(secret, headers, 'body', 1_100)).toBe(true);
    expect(isSigned(secret, headers, 'other', 1_100)).toBe(false);
    expect(isSigned(secret, { ...headers, 'webhook-id': 'other' }, 'body', 1_100)).toBe(false);
    expect(isSigned(secret, { ...headers, 'webhook-timestamp': '1001' }, 'body', 1_100)).toBe(false);
    expect(isSigned('another', headers, 'body', 1_100)).toBe(false);
    expect(isSigned(secret, headers, 'body', 1_301)).toBe(false);
    // The vector that the specification of Standard Webhooks gives.
    const vector = signNotice(
      ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
      'msg_p5jXN8AQM9LWM0D4loKWxJek',
      1_614_265_330,
      '{"test": 2432232314}',
    );
    expect(vector['webhook-signature']).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
    expect([pauseMs(1, 0), pauseMs(3, 0.999_999) > 3_900, pauseMs(100, 0)]).toEqual([500, true, 300_000]);
    expect(noticesOf({ id: 1, type: 'line.lost', at: '', pipeline: 'flights', data: {} }, pipelineOf('flights'))).toEqual([]);
  });
});
