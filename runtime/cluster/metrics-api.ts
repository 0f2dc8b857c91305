/**
 * The aggregated API through which HPAs ask for the depth of queues: its certificate, its server, and the APIService that leads there.
 *
 * Owns the server and a timer; `close()` ends them. Invariants
 *  1. Replicas have one certificate, in a Secret: who finds none, or one that ends soon, makes one, and of two who do one is refused.
 *  2. The APIService trusts that certificate and no other; it is looked at again every `lookMs`, and written only when it does not.
 *  3. Who may ask is the API server's front proxy alone, as the cluster says who that is.
 */
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import { openExternalMetrics, type Depth, type ExternalMetrics } from './external-metrics.js';
import { isStatus, patchType, type KubeObject, type KubeRest } from './kube-rest.js';
import { fieldManager } from './object-writer.js';
import { collectionPath, objectPath } from './resources.js';
import { goodForMs, selfSigned, type SelfSigned } from './self-signed.js';

export interface MetricsApiOptions {
  rest: Pick<KubeRest, 'request'>;
  namespace: string;
  port: number;
  /** Of one pipeline, or of all. */
  depths: (pipeline: string | undefined) => Promise<readonly Depth[]>;
  clock: Clock;
  logger: Logger;
}

export interface MetricsApi {
  readonly port: number;
  close(): Promise<void>;
}

const names = { secret: 'podline-metrics-tls', service: 'podline-metrics-api' };
const apiService = '/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io';
const frontProxy = '/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication';
const lookMs = 60_000;
const renewBeforeMs = 30 * 86_400_000;
const triesMax = 5;

/** Throws KubeFailure when the API server cannot be asked, or does not let us. */
export async function openMetricsApi(options: MetricsApiOptions): Promise<MetricsApi> {
  const api = new ServedMetrics(options);
  await api.start();
  return api;
}

class ServedMetrics implements MetricsApi {
  #server: ExternalMetrics | undefined;
  #pair: SelfSigned | undefined;
  #callOff: (() => void) | undefined;
  #looking: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(private readonly options: MetricsApiOptions) {}

  get port(): number {
    return this.#server?.port ?? 0;
  }

  async start(): Promise<void> {
    await this.#look();
    this.#arm();
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#callOff?.();
    await this.#looking;
    await this.#server?.close();
    this.#server = undefined;
  }

  #arm(): void {
    if (this.#closed) return;
    this.#callOff = this.options.clock.after(lookMs, () => {
      this.#looking = this.#look()
        .catch((thrown: unknown) => {
          this.options.logger.warn({ err: String(thrown) }, 'the API of the metric could not be looked after; it is tried again');
        })
        .finally(() => {
          this.#arm();
        });
    });
  }

  async #look(): Promise<void> {
    const pair = await this.#pairOf();
    if (pair.cert !== this.#pair?.cert) await this.#serve(pair);
    await this.#lead(pair);
  }

  async #serve(pair: SelfSigned): Promise<void> {
    const { rest, depths, clock, port, logger } = this.options;
    const { data = {} } = await rest.request<KubeObject & { data?: Record<string, string> }>('GET', frontProxy);
    await this.#server?.close();
    this.#server = await openExternalMetrics({
      tls: {
        ...pair,
        clientCa: data['requestheader-client-ca-file'] ?? '',
        clientNames: JSON.parse(data['requestheader-allowed-names'] ?? '[]') as string[],
      },
      host: '::',
      port,
      depths,
      logger,
      wall: () => clock.wall(),
    });
    this.#pair = pair;
  }

  async #lead({ cert }: SelfSigned): Promise<void> {
    const { rest, logger } = this.options;
    const caBundle = Buffer.from(cert).toString('base64');
    const { spec } = await rest.request<KubeObject & { spec: { caBundle?: string } }>('GET', apiService);
    if (spec.caBundle === caBundle) return;
    await rest.request('PATCH', apiService, {
      body: { spec: { caBundle } },
      contentType: patchType.merge,
      query: { fieldManager },
    });
    logger.info({}, 'the API server trusts the certificate of the metric’s API');
  }

  async #pairOf(): Promise<SelfSigned> {
    const { rest, namespace, clock } = this.options;
    const place = { namespace, name: names.secret };
    for (let tries = 1; ; tries += 1) {
      const known = await rest.request<Secret>('GET', objectPath('Secret', place)).catch((thrown: unknown) => {
        if (isStatus(thrown, 404)) return undefined;
        throw thrown;
      });
      const pair = pairIn(known);
      const wallMs = Date.parse(clock.wall());
      if (pair !== undefined && goodForMs(pair.cert, wallMs) > renewBeforeMs) return pair;
      const made = selfSigned([`${names.service}.${namespace}.svc`], wallMs);
      const secret = {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { ...place, ...known?.metadata },
        type: 'kubernetes.io/tls',
        data: { 'tls.crt': base64(made.cert), 'tls.key': base64(made.key) },
      };
      try {
        if (known === undefined) await rest.request('POST', collectionPath('Secret', namespace), { body: secret });
        else await rest.request('PUT', objectPath('Secret', place), { body: secret });
        return made;
      } catch (thrown) {
        // Another replica was first: its certificate is ours.
        if (!isStatus(thrown, 409) || tries >= triesMax) throw thrown;
      }
    }
  }
}

type Secret = KubeObject & { data?: Record<string, string> };

const base64 = (text: string): string => Buffer.from(text).toString('base64');

function pairIn(secret: Secret | undefined): SelfSigned | undefined {
  const [cert, key] = ['tls.crt', 'tls.key'].map((name) => Buffer.from(secret?.data?.[name] ?? '', 'base64').toString());
  return cert === undefined || key === undefined || cert === '' || key === '' ? undefined : { cert, key };
}
