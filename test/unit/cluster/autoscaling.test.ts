import { readFileSync } from 'node:fs';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openExternalMetrics } from '../../../runtime/cluster/external-metrics.js';
import { openHpaAutoscaler } from '../../../runtime/cluster/hpa-autoscaler.js';
import { planHpa } from '../../../runtime/cluster/hpa-plan.js';
import type { Ceiling } from '../../../runtime/contracts/capacity.js';
import { makeCertificate } from '../../support/certificate.js';
import { folder } from '../../support/journal.js';

const ceiling: Ceiling = {
  pipeline: 'flights',
  group: 'large',
  workload: 'flights-large',
  linesMax: 3,
  linesMin: 0,
  shardsPerLine: 16,
  because: 'because memory quota 8Gi - 2Gi used by others over 2Gi a line (ResourceQuota team-a)',
};
const scaling = { stabilization: '5m', downShare: 0.5, downEvery: '30s' };

describe('the HPA of a pipeline', () => {
  it('has W_max as its ceiling, goes up at once, and down slowly; it asks for lines through the pipeline', () => {
    expect(planHpa('flights', ceiling, scaling)).toMatchObject({
      metadata: { name: 'flights', annotations: { 'podline.dev/w-max': `3 ${ceiling.because}` } },
      spec: {
        scaleTargetRef: { apiVersion: 'podline.dev/v1alpha1', kind: 'Pipeline', name: 'flights' },
        minReplicas: 1,
        maxReplicas: 3,
        metrics: [
          {
            external: {
              metric: { name: 'podline_queue_depth', selector: { matchLabels: { pipeline: 'flights', group: 'large' } } },
              target: { type: 'AverageValue', averageValue: '16' },
            },
          },
        ],
        behavior: {
          scaleUp: { stabilizationWindowSeconds: 0 },
          scaleDown: { stabilizationWindowSeconds: 300, policies: [{ type: 'Percent', value: 50, periodSeconds: 30 }] },
        },
      },
    });
  });

  it('is one that the API server takes, whatever W_max and the manifest are', () => {
    expect(planHpa('flights', { ...ceiling, linesMax: 0 }, scaling)).toMatchObject({ spec: { minReplicas: 1, maxReplicas: 1 } });
    expect(planHpa('flights', { ...ceiling, linesMax: 2, linesMin: 5 }, scaling)).toMatchObject({
      spec: { minReplicas: 2, maxReplicas: 2 },
    });
    const odd = { stabilization: '2h', downShare: 0.001, downEvery: '10ms' };
    expect(planHpa('flights', ceiling, odd)).toMatchObject({
      spec: { behavior: { scaleDown: { stabilizationWindowSeconds: 3_600, policies: [{ value: 1, periodSeconds: 1 }] } } },
    });
  });

  it('is kept by who keeps the pipeline’s objects, while that one leads', async () => {
    const told: unknown[] = [];
    let leads = true;
    const keeper = {
      setCeiling: (of: Ceiling) => void told.push(of.linesMax),
      scale: async (pipeline: string, lines: number) => void told.push(`${pipeline} ${String(lines)}`),
    };
    const autoscaler = openHpaAutoscaler(() => (leads ? keeper : undefined));
    await autoscaler.tell(ceiling);
    await autoscaler.ask?.('flights', 0);
    leads = false;
    await autoscaler.tell(ceiling);
    expect(told).toEqual([3, 'flights 0']);
  });
});

/** A certificate of its own authority, and its key. */
function identity(name: string): { key: string; cert: string } {
  const { key, cert } = makeCertificate(folder(), name, 'DNS:localhost');
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
}

describe('the external metrics API', () => {
  it('answers the front proxy, as an HPA asks, and nobody else', async () => {
    const [server, proxy, stranger] = [identity('podline'), identity('front-proxy'), identity('stranger')];
    const metrics = await openExternalMetrics({
      tls: { ...server, clientCa: proxy.cert, clientNames: ['front-proxy'] },
      host: '127.0.0.1',
      port: 0,
      depths: async () => [
        { pipeline: 'flights', group: 'default', shards: 7 },
        { pipeline: 'flights', group: 'large', shards: 30 },
      ],
      wall: () => '2026-01-01T00:00:00.000Z',
    });
    onTestFinished(() => metrics.close());
    const get = (path: string, who: ReturnType<typeof identity>): Promise<{ status: number; body: unknown }> =>
      new Promise((resolve, reject) => {
        const of: RequestOptions = { ...who, ca: server.cert, servername: 'localhost', agent: false };
        const request = httpsRequest(
          `https://127.0.0.1:${String(metrics.port)}/apis/external.metrics.k8s.io/v1beta1${path}`,
          of,
          (response) => {
            void textOf(response).then((text) => {
              resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) });
            });
          },
        );
        request.on('error', reject);
        request.end();
      });
    const metric = '/namespaces/team/podline_queue_depth?labelSelector=';
    expect(await get(`${metric}group%3Dlarge%2Cpipeline%3Dflights`, proxy)).toMatchObject({
      status: 200,
      body: { kind: 'ExternalMetricValueList', items: [{ metricName: 'podline_queue_depth', value: '30' }] },
    });
    expect(await get('', proxy)).toMatchObject({
      body: { kind: 'APIResourceList', resources: [{ name: 'podline_queue_depth' }] },
    });
    expect(await get(`${metric}pipeline%3Dnobody`, proxy)).toMatchObject({ status: 404, body: { kind: 'Status' } });
    expect(await get(`${metric}pipeline%20in%20(a)`, proxy)).toMatchObject({ status: 400 });
    await expect(get(metric, stranger)).rejects.toThrow();
  });
});

async function textOf(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
