import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { describe, expect, it, onTestFinished } from 'vitest';
import { nestsDeeperThan } from '../../../runtime/api/bounds.js';
import { PodlineClient } from '../../../runtime/api/client.js';
import { apiBench, operator, type ApiBench } from '../../support/api.js';
import { makeCertificate } from '../../support/certificate.js';
import { folder } from '../../support/journal.js';
import { needs } from '../../support/require.js';

const shards = '/v1/pipelines/flights/shards';
const line = (key: string, inline: unknown = 'x'): string => `${JSON.stringify({ key, source: { inline, format: 'csv' } })}\n`;
const auth = `Authorization: Bearer ${operator}\r\n`;

function raw({ server }: ApiBench): Promise<Socket> {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  onTestFinished(() => {
    socket.destroy();
  });
  return once(socket, 'connect').then(() => socket);
}

/** All that comes until the server ends the connection. */
async function rest(socket: Socket): Promise<string> {
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  await once(socket, 'close');
  return text;
}

describe('a hostile request', () => {
  it('with a head that is too large is answered 431', async () => {
    const { server } = await apiBench({ bounds: { headerBytesMax: 4_096 } });
    const answer = await fetch(`${server.url}/healthz`, { headers: { 'x-long': 'a'.repeat(8_000) } });
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([431, 'PDL_TOO_LARGE']);
  });

  it('that is no HTTP, or not UTF-8, is answered 400', async () => {
    const bench = await apiBench();
    const socket = await raw(bench);
    socket.write('\x16\x03\x01 hello there\r\n\r\n');
    expect(await rest(socket)).toMatch(/^HTTP\/1\.1 400[^]*PDL_REQUEST_INVALID/);
    for (const path of ['/v1/shards/%zz', '/v1/shards/%ff', '/v1/pipelines/..%2f..%2fetc', '/v1/shards/a%00b'])
      expect((await bench.call('GET', path)).status, path).toBeGreaterThanOrEqual(400);
    expect((await bench.call('GET', '/v1/shards/a%00b')).status).toBe(404);
  });

  it('whose head comes drop by drop is answered 408 and cut off', async () => {
    const bench = await apiBench({ bounds: { headersTimeoutMs: 100 } });
    const socket = await raw(bench);
    socket.write('GET /healthz HTTP/1.1\r\nX-Slow: a');
    expect(await rest(socket)).toMatch(/^HTTP\/1\.1 408[^]*PDL_TOO_SLOW/);
    const silent = await raw(bench);
    await rest(silent);
    expect((await bench.call('GET', '/healthz')).status).toBe(200);
  });

  it('whose body comes drop by drop is answered 408 and cut off', async () => {
    const bench = await apiBench({ bounds: { bodyTimeoutMs: 100 } });
    const socket = await raw(bench);
    socket.write(`POST ${shards} HTTP/1.1\r\nHost: x\r\n${auth}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{`);
    expect(await rest(socket)).toMatch(/^HTTP\/1\.1 408[^]*PDL_TOO_SLOW/);
  });

  it('that has no body may last longer than a body may take', async () => {
    const bench = await apiBench({ bounds: { bodyTimeoutMs: 20, sseQuietMs: 10 } });
    const answer = await fetch(`${bench.server.url}/v1/events`, { headers: { authorization: `Bearer ${operator}` } });
    const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    const read = async (): Promise<void> => {
      const { value, done } = (await reader?.read()) ?? { value: undefined, done: true };
      if (done) throw new Error(`the stream ended: ${text}`);
      text += value ?? '';
    };
    while (text.split('still here').length < 10) await read();
    await bench.client.submit('flights', { key: 'a', source: { uri: '/data/a', format: 'csv' } });
    while (!text.includes('shard.submitted')) await read();
    await reader?.cancel();
  });

  it('on which nothing moves any more is cut off', async () => {
    const bench = await apiBench({ bounds: { silenceMs: 100 } });
    const socket = await raw(bench);
    socket.write(
      `POST ${shards} HTTP/1.1\r\nHost: x\r\n${auth}Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n`,
    );
    await rest(socket);
    expect((await bench.call('GET', '/healthz')).status).toBe(200);
  });

  it('is refused compressed, of another type, or too large', async () => {
    const { call, server } = await apiBench({ bounds: { requestBytesMax: 10_000 } });
    const post = async (body: string | Buffer, headers: Record<string, string>): Promise<[number, string]> => {
      const answer = await fetch(server.url + shards, {
        method: 'POST',
        body: new Uint8Array(Buffer.from(body)),
        headers: { authorization: `Bearer ${operator}`, ...headers },
      });
      return [answer.status, ((await answer.json()) as { code: string }).code];
    };
    const json = { 'content-type': 'application/json' };
    // 10 MB that were 10 KB: nothing unpacks them.
    expect(await post(gzipSync('0'.repeat(10_000_000)), { ...json, 'content-encoding': 'gzip' })).toEqual([
      415,
      'PDL_MEDIA_TYPE',
    ]);
    expect(await post(gzipSync(line('a')), { 'content-type': 'application/x-ndjson', 'content-encoding': 'gzip' })).toEqual([
      415,
      'PDL_MEDIA_TYPE',
    ]);
    expect(await post('key=a', { 'content-type': 'application/x-www-form-urlencoded' })).toEqual([415, 'PDL_MEDIA_TYPE']);
    expect(await post('key: a', { 'content-type': 'text/plain' })).toEqual([415, 'PDL_MEDIA_TYPE']);
    expect(await post(line('a', 'x'.repeat(20_000)), json)).toEqual([413, 'PDL_TOO_LARGE']);
    expect((await call('GET', '/v1/pipelines/flights/progress')).json['pending']).toBe(0);
  });

  it('is refused nested without end, in JSON and in a line of NDJSON, and harms no other', async () => {
    const { call } = await apiBench();
    const deep = (levels: number): string =>
      `{"key":"deep","source":{"format":"csv","inline":{"a":${'['.repeat(levels)}${']'.repeat(levels)}}}}`;
    const whole = await call('POST', shards, deep(100_000));
    expect([whole.status, whole.json['code']]).toEqual([400, 'PDL_REQUEST_INVALID']);
    const lines = await call('POST', shards, `${line('a')}${deep(100_000)}\n${line('b')}`, {
      'content-type': 'application/x-ndjson',
    });
    const answers = lines.text
      .trim()
      .split('\n')
      .map((text) => JSON.parse(text) as { outcome: string; error?: { message: string } });
    expect(answers.map(({ outcome }) => outcome)).toEqual(['accepted', 'rejected', 'accepted']);
    expect(answers[1]?.error?.message).toMatch(/nested deeper than 64/);
    expect((await call('POST', shards, deep(20))).status).toBe(200);
    expect([nestsDeeperThan([[[]]], 2), nestsDeeperThan([[[]]], 1), nestsDeeperThan(1, 0)]).toEqual([true, true, false]);
  });

  it('as a line of NDJSON without an end is cut off at the bound, with memory to spare', async () => {
    const { call, server } = await apiBench({ bounds: { requestBytesMax: 1024 * 1024 } });
    const megabyte = Buffer.alloc(1024 * 1024, 'x');
    let sent = 0;
    const before = process.memoryUsage().rss;
    const body = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.from(`${line('a')}{"key":"`);
      for (; sent < 1_024; sent += 1) yield megabyte;
    };
    const answer = await fetch(server.url + shards, {
      method: 'POST',
      body: body() as unknown as ReadableStream,
      duplex: 'half',
      headers: { authorization: `Bearer ${operator}`, 'content-type': 'application/x-ndjson' },
    }).then(
      (response) => response.text().catch(() => 'cut off'),
      () => 'cut off',
    );
    expect(answer).toMatch(/longer than 1048576 bytes|cut off/);
    expect(sent).toBeLessThan(200);
    expect(process.memoryUsage().rss - before).toBeLessThan(256 * 1024 * 1024);
    expect((await call('GET', '/healthz')).status).toBe(200);
  });

  it('as one stream of submissions too many is answered 429', async () => {
    const bench = await apiBench({ bounds: { submitStreamsMax: 1 } });
    const socket = await raw(bench);
    const chunk = line('a');
    socket.write(
      `POST ${shards} HTTP/1.1\r\nHost: x\r\n${auth}Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.length.toString(16)}\r\n${chunk}\r\n`,
    );
    const [head] = (await once(socket, 'data')) as [Buffer];
    expect(head.toString()).toMatch(/^HTTP\/1\.1 200/);
    const refused = await bench.call('POST', shards, line('b'), { 'content-type': 'application/x-ndjson' });
    expect([refused.status, refused.json['code'], refused.headers.get('retry-after')]).toEqual([429, 'PDL_QUEUE_FULL', '1']);
    const ended = once(socket, 'close');
    socket.destroy();
    await ended;
    for (let status = 429; status !== 200;)
      ({ status } = await bench.call('POST', shards, line('b'), { 'content-type': 'application/x-ndjson' }));
  });

  it('as one event stream too many is answered 429', async () => {
    const { server, call } = await apiBench({ limits: { eventStreamsMax: 1 } });
    const stop = new AbortController();
    await fetch(`${server.url}/v1/events`, { headers: { authorization: `Bearer ${operator}` }, signal: stop.signal });
    const second = await call('GET', '/v1/events');
    expect([second.status, second.json['code']]).toEqual([429, 'PDL_QUEUE_FULL']);
    stop.abort();
  });

  it('cannot make a pipeline whose name is a path', async () => {
    const { call, client } = await apiBench();
    const { pipeline } = await client.pipeline('flights');
    for (const name of ['..', '../../etc', 'a/b', 'A', ''])
      expect(
        (await call('PUT', `/v1/pipelines/${encodeURIComponent(name)}`, { ...pipeline, name })).status,
        name,
      ).toBeGreaterThanOrEqual(400);
    expect((await client.pipelines()).map(({ name }) => name)).toEqual(['flights']);
  });
});

describe('ten thousand connections that say nothing', () => {
  it('keep nobody out: the one that is idle longest makes room', { timeout: 60_000 }, async () => {
    const bench = await apiBench({ bounds: { connectionsMax: 256, headersTimeoutMs: 60_000 } });
    const { hostname, port } = new URL(bench.server.url);
    const first = await raw(bench);
    const firstEnded = once(first.resume(), 'close');
    let open = 0;
    let ended = 0;
    const sockets: Socket[] = [];
    const group = async (count: number): Promise<void> => {
      await Promise.all(
        Array.from({ length: count }, async () => {
          const socket = connect(Number(port), hostname);
          sockets.push(socket);
          socket
            .resume()
            .on('error', () => undefined)
            .on('close', () => (ended += 1));
          await once(socket, 'connect');
          open += 1;
        }),
      );
    };
    for (let made = 0; made < 10_000; made += 100) await group(100);
    expect(open).toBe(10_000);
    expect((await bench.call('GET', '/v1/pipelines')).status).toBe(200);
    await firstEnded;
    expect(ended).toBeGreaterThan(5_000);
    for (const socket of sockets) socket.destroy();
  });

  needs('openssl').it('nor do those that never shake hands, where a handshake is asked for', async () => {
    const { key, cert } = makeCertificate(folder(), 'server', 'IP:127.0.0.1');
    const tls = { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
    const { server } = await apiBench({ tls, bounds: { connectionsMax: 16, headersTimeoutMs: 60_000 } });
    const { hostname, port } = new URL(server.url);
    let ended = 0;
    const enough = new Promise<void>((resolve) => {
      const gone = (): void => {
        ended += 1;
        if (ended === 300 - 16) resolve();
      };
      for (let made = 0; made < 300; made += 1) {
        const socket = connect(Number(port), hostname);
        onTestFinished(() => {
          socket.destroy();
        });
        socket
          .resume()
          .on('error', () => undefined)
          .on('close', gone);
      }
    });
    await enough;
    const client = PodlineClient.connect(server.url, operator, { authority: tls.cert });
    expect((await client.pipelines()).map(({ name }) => name)).toEqual(['flights']);
    await client.close();
  });

  needs('openssl').it('and such a one is ended in the time that a head has', async () => {
    const { key, cert } = makeCertificate(folder(), 'server', 'IP:127.0.0.1');
    const tls = { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
    const { server } = await apiBench({ tls, bounds: { headersTimeoutMs: 200 } });
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined).resume();
    await once(socket, 'close');
  });
});
