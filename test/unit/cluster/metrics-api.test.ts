/** The self-made certificate, the APIService that is told of it, and the server behind it, for several replicas. */
import { request, type RequestOptions } from 'node:https';
import { X509Certificate } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openKubeRest, type KubeRest } from '../../../runtime/cluster/kube-rest.js';
import { openMetricsApi, type MetricsApi } from '../../../runtime/cluster/metrics-api.js';
import { goodForMs, selfSigned, type SelfSigned } from '../../../runtime/cluster/self-signed.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { ManualClock } from '../../support/manual-clock.js';
import { FakeApiServer } from './fake-api-server.js';

const apiService = '/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io';
const secret = '/api/v1/namespaces/podline/secrets/podline-metrics-tls';
const dayMs = 86_400_000;
const name = 'podline-metrics-api.podline.svc';

/** TLS looks at the time of day itself. */
class ClockOfToday extends ManualClock {
  override wall(): string {
    return new Date().toISOString();
  }
}

let server: FakeApiServer;
let rest: KubeRest;
let clock: ManualClock;
let proxy: SelfSigned;
const opened: MetricsApi[] = [];

async function open(): Promise<MetricsApi> {
  const depths = async () => [{ pipeline: 'flights', group: 'default', shards: 7 }];
  const api = await openMetricsApi({ rest, namespace: 'podline', port: 0, depths, clock, logger: silentLogger });
  opened.push(api);
  return api;
}
const bundle = (): string =>
  Buffer.from((server.get(apiService)?.spec as { caBundle?: string }).caBundle ?? '', 'base64').toString();

/** As the API server asks: it trusts the bundle, and shows who it is. */
function ask(api: MetricsApi, who: SelfSigned): Promise<number> {
  const path = '/apis/external.metrics.k8s.io/v1beta1/namespaces/podline/podline_queue_depth?labelSelector=pipeline%3Dflights';
  const options: RequestOptions = {
    ...who,
    host: '127.0.0.1',
    port: api.port,
    path,
    ca: bundle(),
    servername: name,
    agent: false,
  };
  return new Promise((resolve, reject) => {
    request(options, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .on('error', reject)
      .end();
  });
}

beforeEach(async () => {
  server = await FakeApiServer.start();
  rest = openKubeRest({ kubeconfig: server.kubeconfig });
  clock = new ClockOfToday();
  proxy = selfSigned(['front-proxy-client'], Date.now());
  server.put(apiService, { metadata: { name: 'v1beta1.external.metrics.k8s.io' }, spec: { group: 'external.metrics.k8s.io' } });
  server.put('/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication', {
    metadata: { name: 'extension-apiserver-authentication' },
    data: { 'requestheader-client-ca-file': proxy.cert, 'requestheader-allowed-names': '["front-proxy-client"]' },
  });
});
afterEach(async () => {
  for (const api of opened.splice(0)) await api.close();
  rest.close();
  await server.close();
});

describe('a self-made certificate', () => {
  it('is one that TLS takes, for its names, for a year', () => {
    const wallMs = Date.now();
    const { cert, key } = selfSigned(['a.b.svc', 'a.b.svc.cluster.local'], wallMs);
    const parsed = new X509Certificate(cert);
    expect(parsed.verify(parsed.publicKey)).toBe(true);
    expect(parsed.checkHost('a.b.svc.cluster.local')).toBe('a.b.svc.cluster.local');
    expect(parsed.checkHost('c.b.svc')).toBeUndefined();
    expect(key).toContain('PRIVATE KEY');
    expect(Math.round(goodForMs(cert, wallMs) / dayMs)).toBe(365);
    expect(goodForMs(selfSigned(['a'], Date.parse('2051-03-04')).cert, Date.parse('2052-03-04'))).toBeLessThan(dayMs);
  });
});

describe('the API of the metric', () => {
  it('is trusted by the API server from the first start on, without anybody’s doing', async () => {
    expect(await ask(await open(), proxy)).toBe(200);
  });

  it('answers the front proxy alone', async () => {
    const api = await open();
    await expect(ask(api, selfSigned(['front-proxy-client'], Date.now()))).rejects.toThrow();
    server.put('/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication', {
      metadata: { name: 'extension-apiserver-authentication' },
      data: { 'requestheader-client-ca-file': proxy.cert, 'requestheader-allowed-names': '["another"]' },
    });
    expect(await ask(await open(), proxy)).toBe(403);
  });

  it('has one certificate on all replicas, and after a restart', async () => {
    const apis = await Promise.all([open(), open(), open()]);
    expect(await Promise.all(apis.map((api) => ask(api, proxy)))).toEqual([200, 200, 200]);
    const before = server.get(secret)?.['data'];
    await apis[0]?.close();
    expect(await ask(await open(), proxy)).toBe(200);
    expect(server.get(secret)?.['data']).toEqual(before);
  });

  it('writes nothing while nothing changes, mends the APIService, and renews the certificate before it ends', async () => {
    const api = await open();
    const writes = server.writes().length;
    await clock.advance(120_000, () => new Promise((resolve) => setImmediate(resolve)));
    expect(server.writes()).toHaveLength(writes);
    const first = bundle();
    server.put(apiService, { metadata: { name: 'v1beta1.external.metrics.k8s.io' }, spec: { group: 'external.metrics.k8s.io' } });
    await clock.advance(60_000, () => new Promise((resolve) => setImmediate(resolve)));
    await expect.poll(bundle).toBe(first);
    const old = selfSigned([name], Date.parse(clock.wall()) - 350 * dayMs);
    const stored = server.get(secret);
    if (stored === undefined) throw new Error('there is no secret');
    const data = { 'tls.crt': Buffer.from(old.cert).toString('base64'), 'tls.key': Buffer.from(old.key).toString('base64') };
    server.put(secret, { ...stored, data });
    await clock.advance(60_000, () => new Promise((resolve) => setImmediate(resolve)));
    await expect.poll(() => bundle() !== first && bundle() !== '').toBe(true);
    expect(goodForMs(bundle(), Date.parse(clock.wall())) / dayMs).toBeGreaterThan(300);
    expect(api.port).toBeGreaterThan(0);
  });
});
