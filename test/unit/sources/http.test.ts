import { readFileSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { fileOf, load, plain, readBytes, split, vega } from './helpers.js';

interface Behaviour {
  ranges?: boolean;
  head?: boolean;
  length?: boolean;
  status?: number;
  etag?: string;
  /** Breaks the connection after so many bytes of a body, as often as `breaks` says. */
  breakAfter?: number;
  breaks?: number;
}

/** A server of the vega files on the loopback address, which may be made to behave badly. */
async function serve(behaviour: Behaviour) {
  const { ranges = true, head = true, length = true, status, breakAfter } = behaviour;
  const seen: { method: string; range: string | undefined }[] = [];
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const { range } = request.headers;
    seen.push({ method: request.method ?? '', range });
    if (status !== undefined) return void response.writeHead(status).end();
    if (request.method === 'HEAD' && !head) return void response.writeHead(405).end();
    const whole = readFileSync(vega(new URL(request.url ?? '/', 'http://x').pathname.slice(1)));
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec((ranges && range) || '') ?? [];
    const isPart = from !== undefined;
    const body = isPart ? whole.subarray(Number(from), to === '' ? whole.length : Number(to) + 1) : whole;
    if (ranges) response.setHeader('accept-ranges', 'bytes');
    if (behaviour.etag !== undefined) response.setHeader('etag', behaviour.etag);
    if (isPart)
      response.setHeader('content-range', `bytes ${from}-${String(Number(from) + body.length - 1)}/${String(whole.length)}`);
    if (length) response.setHeader('content-length', body.length);
    response.writeHead(isPart ? 206 : 200);
    if (request.method === 'HEAD') return void response.end();
    if (breakAfter !== undefined && body.length > breakAfter && (behaviour.breaks ?? 0) > 0) {
      behaviour.breaks = (behaviour.breaks ?? 0) - 1;
      response.write(body.subarray(0, breakAfter), () => response.destroy());
    } else {
      response.end(body);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: (file: string) => `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/${file}?token=secret`,
    seen,
  };
}

const size = (file: string): number => statSync(vega(file)).size;

describe('an http source', () => {
  it('is split and loaded by ranges where the server has them', async () => {
    const { url, seen } = await serve({ etag: '"v1"' });
    const [shard, ...others] = await split({ source: url('flights-3m.parquet'), format: 'parquet', chunk: { rows: 300_000 } });
    expect(others).toHaveLength(9);
    expect(shard).toMatchObject({ key: 'flights-3m.parquet#000000', source: { identity: 'etag "v1", size 13493022' } });
    const { result } = await load(shard!.source, { columns: { delay: 'int16' } });
    expect(result.rows).toBe(300_000);
    expect(result.bytes.network.read).toBeLessThan(1_000_000);
    expect(seen.filter(({ method }) => method === 'GET').every(({ range }) => range !== undefined)).toBe(true);
  });

  it.each([
    ['ranges', {}],
    ['no ranges', { ranges: false }],
    ['no HEAD', { head: false }],
    ['no length', { length: false, ranges: false }],
    ['no HEAD, no ranges', { head: false, ranges: false }],
  ] as [string, Behaviour][])('is read once: a server with %s', async (_, behaviour) => {
    const { url } = await serve(behaviour);
    const local = await load(fileOf(vega('airports.csv'), 'csv'));
    const { rows, result } = await load(fileOf(url('airports.csv'), 'csv'));
    expect(plain(rows)).toEqual(plain(local.rows));
    expect(result.sourceReads).toBe(1);
    expect(result.bytes.network.read).toBe(size('airports.csv'));
    const parquet = await load({ uri: url('flights-3m.parquet'), format: 'parquet', rows: [0, 1000] }, { columns: ['delay'] });
    expect(parquet.result.rows).toBe(1000);
    expect(parquet.result.bytes.network.read).toBeLessThanOrEqual(size('flights-3m.parquet'));
    const arrow = await load(fileOf(url('flights-200k.arrow'), 'arrow'));
    expect(arrow.result).toMatchObject({ rows: 200_000 });
    expect(arrow.result.bytes.network.read).toBe(size('flights-200k.arrow'));
  });

  it('goes on behind the last byte when the body breaks off', async () => {
    const { url, seen } = await serve({ breakAfter: 400_000, breaks: 4 });
    const { scratch, result } = await load(fileOf(url('zipcodes.csv'), 'bytes'), { blockBytes: 100_000 });
    expect(readBytes(scratch).equals(readFileSync(vega('zipcodes.csv')))).toBe(true);
    expect(result.bytes.network.read).toBe(size('zipcodes.csv'));
    expect(result.sourceReads).toBe(1);
    expect(seen.filter(({ method }) => method === 'GET').length).toBe(5);
  });

  it('is told as unreachable, to be tried later, when it breaks off and has no ranges', async () => {
    const { url } = await serve({ breakAfter: 400_000, breaks: 1, ranges: false });
    const loading = load(fileOf(url('zipcodes.csv'), 'csv'));
    await expect(loading).rejects.toMatchObject({
      code: 'PDL_SOURCE_UNREACHABLE',
      retry: 'later',
      message: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/zipcodes\.csv broke off after \d+ of 2018388 bytes/),
    });
  });

  it('gives up on a server that always breaks off', async () => {
    const { url, seen } = await serve({ breakAfter: 0, breaks: 1000 });
    await expect(load(fileOf(url('zipcodes.csv'), 'csv'))).rejects.toMatchObject({ code: 'PDL_SOURCE_UNREACHABLE' });
    expect(seen.length).toBeLessThan(6);
  });

  it.each([
    [404, 'PDL_SOURCE_MISSING', 'never'],
    [401, 'PDL_SOURCE_UNREACHABLE', 'never'],
    [503, 'PDL_SOURCE_UNREACHABLE', 'later'],
    [429, 'PDL_SOURCE_UNREACHABLE', 'later'],
  ])('tells HTTP %d as %s, without the query of the address', async (status, code, retry) => {
    const { url } = await serve({ status });
    const thrown = await split({ source: url('airports.csv'), format: 'csv' }).catch((error: unknown) => error);
    expect(thrown).toMatchObject({ code, retry });
    expect(JSON.stringify(thrown) + String(thrown)).not.toContain('secret');
  });

  it('is told as unreachable when nobody listens', async () => {
    await expect(load(fileOf('http://127.0.0.1:9/x.csv', 'csv'))).rejects.toMatchObject({
      code: 'PDL_SOURCE_UNREACHABLE',
      retry: 'later',
    });
  });

  it('is refused when it has changed since it was split', async () => {
    const behaviour: Behaviour = { etag: '"v1"' };
    const { url } = await serve(behaviour);
    const [shard] = await split({ source: url('airports.csv'), format: 'csv', chunk: { bytes: 1000 } });
    behaviour.etag = '"v2"';
    await expect(load(shard!.source)).rejects.toMatchObject({
      code: 'PDL_SOURCE_UNREADABLE',
      message: expect.stringContaining('changed since'),
    });
  });
});
