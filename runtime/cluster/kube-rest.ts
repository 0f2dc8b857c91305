/**
 * Requests to a Kubernetes API server and streams of watch events, for objects of any kind.
 *
 * Owns its connections; `close()` ends them. Leaves to `@kubernetes/client-node` where the server is and who we are (kubeconfig, a
 * pod's account, tokens that change), and to `informer.ts` what to do when a stream ends.
 *
 * Invariants
 *  1. Every request has a time limit, and a watch one on silence: a connection that is open on one side only is found.
 *  2. What the server refuses is a KubeFailure with its status and its own words; where no answer came, without status.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from 'node:https';
import { createInterface } from 'node:readline';
import { KubeConfig } from '@kubernetes/client-node';
import { KubeFailure } from './kube.js';

export interface ObjectMeta {
  name: string;
  namespace?: string | undefined;
  uid?: string | undefined;
  resourceVersion?: string | undefined;
  generation?: number | undefined;
  creationTimestamp?: string | undefined;
  deletionTimestamp?: string | undefined;
  deletionGracePeriodSeconds?: number | undefined;
  labels?: Record<string, string> | undefined;
  annotations?: Record<string, string> | undefined;
  finalizers?: string[] | undefined;
  ownerReferences?: Record<string, unknown>[] | undefined;
}
export interface KubeObject {
  apiVersion?: string | undefined;
  kind?: string | undefined;
  metadata: ObjectMeta;
  spec?: unknown;
  status?: unknown;
  [field: string]: unknown;
}

/** Content types of PATCH. */
export const patchType = {
  apply: 'application/apply-patch+yaml',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
} as const;

export interface KubeRequest {
  query?: Record<string, string | undefined> | undefined;
  body?: unknown;
  contentType?: string | undefined;
  signal?: AbortSignal | undefined;
}

export interface WatchEvent {
  type: string;
  object: KubeObject & { code?: number };
}

export interface KubeRest {
  /** The body of the answer, parsed where it is JSON. Throws KubeFailure. */
  request<T>(method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, options?: KubeRequest): Promise<T>;
  /** Resolves when the server ends the stream. Throws KubeFailure, also after `silenceMs` without a word. */
  watch(path: string, options: KubeRequest & { silenceMs: number; onEvent: (event: WatchEvent) => void }): Promise<void>;
  close(): void;
}

const requestTimeoutMs = 30_000;
const connectionsMax = 32;

export interface KubeRestOptions {
  /** File; without it, what kubectl would use, or the pod's own account. */
  kubeconfig?: string | undefined;
}

export function openKubeRest(options: KubeRestOptions = {}): KubeRest {
  const config = new KubeConfig();
  if (options.kubeconfig === undefined) config.loadFromDefault();
  else config.loadFromFile(options.kubeconfig);
  return new ConfiguredRest(config);
}

class ConfiguredRest implements KubeRest {
  readonly #server: URL;
  readonly #agent: HttpAgent;

  constructor(private readonly config: KubeConfig) {
    const cluster = config.getCurrentCluster();
    if (cluster === null) throw new KubeFailure(undefined, 'the kubeconfig names no cluster');
    this.#server = new URL(cluster.server);
    const options = { keepAlive: true, maxSockets: connectionsMax };
    this.#agent = this.#server.protocol === 'http:' ? new HttpAgent(options) : new HttpsAgent(options);
  }

  async request<T>(method: string, path: string, options: KubeRequest = {}): Promise<T> {
    const timeout = AbortSignal.timeout(requestTimeoutMs);
    const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]);
    const { status, response } = await this.#send(method, path, options, signal);
    const text = await textOf(response);
    if (status >= 300) throw new KubeFailure(status, wordsOf(text));
    return (response.headers['content-type']?.includes('json') === true ? JSON.parse(text) : text) as T;
  }

  async watch(
    path: string,
    { silenceMs, onEvent, ...options }: KubeRequest & { silenceMs: number; onEvent: (event: WatchEvent) => void },
  ): Promise<void> {
    const silence = new AbortController();
    const timer = setTimeout(() => {
      silence.abort(new KubeFailure(undefined, `no word for ${String(silenceMs)} ms`));
    }, silenceMs);
    const signal = options.signal === undefined ? silence.signal : AbortSignal.any([options.signal, silence.signal]);
    try {
      const { status, response } = await this.#send(
        'GET',
        path,
        { ...options, query: { ...options.query, watch: 'true' } },
        signal,
      );
      if (status >= 300) throw new KubeFailure(status, wordsOf(await textOf(response)));
      for await (const line of createInterface({ input: response })) {
        timer.refresh();
        if (line !== '') onEvent(JSON.parse(line) as WatchEvent);
      }
      signal.throwIfAborted();
    } catch (thrown) {
      if (silence.signal.aborted) throw silence.signal.reason;
      throw asFailure(thrown);
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  async #send(
    method: string,
    path: string,
    { query = {}, body, contentType = 'application/json' }: KubeRequest,
    signal: AbortSignal,
  ): Promise<{ status: number; response: IncomingMessage }> {
    // The certificate and the token, read again where they change.
    const identity: RequestOptions = {};
    await this.config.applyToHTTPSOptions(identity);
    const url = new URL(`${this.#server.pathname.replace(/\/$/, '')}${path}`, this.#server);
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, value);
    const payload = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const send = url.protocol === 'http:' ? httpRequest : httpsRequest;
      const request = send(
        url,
        {
          ...identity,
          agent: this.#agent,
          method,
          signal,
          headers: {
            ...(identity.headers as OutgoingHttpHeaders | undefined),
            accept: 'application/json, */*',
            ...(payload === undefined ? {} : { 'content-type': contentType, 'content-length': Buffer.byteLength(payload) }),
          },
        },
        (response) => {
          resolve({ status: response.statusCode ?? 0, response });
        },
      );
      request.on('error', (error) => {
        reject(asFailure(error));
      });
      request.end(payload);
    });
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of response) chunks.push(chunk as Buffer);
  } catch (thrown) {
    throw asFailure(thrown);
  }
  return Buffer.concat(chunks).toString();
}

/** The server's own words, out of a `Status` object. */
function wordsOf(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === 'string' ? message : text;
  } catch {
    return text;
  }
}

const asFailure = (thrown: unknown): KubeFailure =>
  thrown instanceof KubeFailure
    ? thrown
    : new KubeFailure(undefined, thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown });

export const isStatus = (thrown: unknown, status: number): boolean => thrown instanceof KubeFailure && thrown.status === status;
