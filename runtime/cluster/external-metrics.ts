/**
 * The external metrics API (`external.metrics.k8s.io/v1beta1`), as far as an HPA asks: how many shards each group of a pipeline has,
 * waiting or in work. An aggregated API: the API server calls it over TLS, in the name of whoever asked.
 *
 * Owns its server; `close()` ends it. Invariants
 *  1. Only who shows a certificate of `clientCa` for one of `clientNames` is answered: that is the API server's front proxy, which has
 *     checked who asks.
 *  2. A metric without a value is an error and not 0: an autoscaler that cannot see must not scale down.
 */
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Logger } from '../platform/logger.js';
import { queueMetric } from './hpa-plan.js';

export interface Depth {
  pipeline: string;
  group: string;
  /** Waiting or in work. */
  shards: number;
}

export interface ExternalMetricsOptions {
  /** PEM; the CA of the first is what the APIService's `caBundle` holds. */
  tls: {
    key: string;
    cert: string;
    clientCa: string;
    /** Without any, all that the CA has signed. */
    clientNames: readonly string[];
  };
  host: string;
  port: number;
  /** Of one pipeline, or of all. */
  depths: (pipeline: string | undefined) => Promise<readonly Depth[]>;
  logger?: Logger | undefined;
  /** ISO 8601. */
  wall: () => string;
}

export interface ExternalMetrics {
  readonly port: number;
  close(): Promise<void>;
}

const base = '/apis/external.metrics.k8s.io/v1beta1';
const requestTimeoutMs = 10_000;

export async function openExternalMetrics(options: ExternalMetricsOptions): Promise<ExternalMetrics> {
  const { key, cert, clientCa, clientNames } = options.tls;
  const server = createServer(
    { key, cert, ca: clientCa, requestCert: true, rejectUnauthorized: true, requestTimeout: requestTimeoutMs },
    (request, response) => {
      request.resume();
      const { subject } = (request.socket as unknown as Pick<TLSSocket, 'getPeerCertificate'>).getPeerCertificate();
      if (clientNames.length > 0 && !clientNames.some((name) => name === subject.CN)) {
        response.writeHead(403, { 'content-type': 'application/json' });
        response.end(JSON.stringify(statusOf(403, 'only the API server is answered here').body));
        return;
      }
      void answer(request.method ?? 'GET', new URL(request.url ?? '/', 'https://localhost'), options)
        .catch((thrown: unknown) => statusOf(500, String(thrown)))
        .then(({ status, body }) => {
          if (status >= 400)
            options.logger?.warn({ method: request.method, url: request.url, status, ...body }, 'a metric was not answered');
          response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
        });
    },
  );
  await listen(server, options.port, options.host);
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

const listen = (server: Server, port: number, host: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });

interface Answer {
  status: number;
  body: Record<string, unknown>;
}

async function answer(method: string, url: URL, { depths, wall }: ExternalMetricsOptions): Promise<Answer> {
  if (method !== 'GET') return statusOf(405, `${method} is not answered here`);
  if (url.pathname === base || url.pathname === `${base}/`) {
    const resources = [
      { name: queueMetric, singularName: '', namespaced: true, kind: 'ExternalMetricValueList', verbs: ['get'] },
    ];
    return {
      status: 200,
      body: { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: 'external.metrics.k8s.io/v1beta1', resources },
    };
  }
  const [, metric] = new RegExp(`^${base.replaceAll('.', '\\.')}/namespaces/[^/]+/([^/]+)$`).exec(url.pathname) ?? [];
  if (metric !== queueMetric) return statusOf(404, `there is no metric at ${url.pathname}`);
  const wanted = selectorOf(url.searchParams.get('labelSelector') ?? '');
  if (wanted === undefined) return statusOf(400, 'a selector is pipeline=…,group=…');
  const found = (await depths(wanted.get('pipeline'))).filter(
    ({ pipeline, group }) => (wanted.get('pipeline') ?? pipeline) === pipeline && (wanted.get('group') ?? group) === group,
  );
  if (found.length === 0) return statusOf(404, 'no group fits the selector');
  const items = found.map(({ pipeline, group, shards }) => ({
    metricName: queueMetric,
    metricLabels: { pipeline, group },
    timestamp: wall(),
    value: String(shards),
  }));
  return {
    status: 200,
    body: { kind: 'ExternalMetricValueList', apiVersion: 'external.metrics.k8s.io/v1beta1', metadata: {}, items },
  };
}

/** Equality alone: that is what `planHpa` writes. */
function selectorOf(text: string): Map<string, string> | undefined {
  const wanted = new Map<string, string>();
  for (const part of text.split(',').filter((piece) => piece !== '')) {
    const [, name, value] = /^(pipeline|group)==?([-A-Za-z0-9_.]+)$/.exec(part) ?? [];
    if (name === undefined || value === undefined) return undefined;
    wanted.set(name, value);
  }
  return wanted;
}

const statusOf = (code: number, message: string): Answer => ({
  status: code,
  body: { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, message },
});
