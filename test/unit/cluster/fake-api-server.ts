/**
 * As much of a Kubernetes API server as the coordinator sees, over real HTTP: objects by path, versions that count up, lists in pages,
 * watches with bookmarks that may be cut or forgotten, server-side apply as replacing what is there. For unit tests: what a real one
 * does is tested in `test/cluster`.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KubeObject } from '../../../runtime/cluster/kube-rest.js';

export interface Request {
  method: string;
  path: string;
  query: URLSearchParams;
  body: unknown;
  contentType: string;
}
interface Change {
  version: number;
  type: 'ADDED' | 'MODIFIED' | 'DELETED';
  path: string;
  object: KubeObject;
}

export class FakeApiServer {
  readonly requests: Request[] = [];
  /** Answers for the next requests that fit, each used once. */
  readonly refusals: { method: string; path: RegExp; status: number; message: string }[] = [];
  /** What a TokenReview answers: its status, or that of HTTP. */
  reviews: (() => Record<string, unknown> | number) | undefined;
  readonly #objects = new Map<string, KubeObject>();
  #changes: Change[] = [];
  #version = 100;
  #generation = 0;
  readonly #watches = new Set<{ collection: RegExp; response: ServerResponse; selector: string }>();
  #server!: Server;
  #dir!: string;
  kubeconfig!: string;

  static async start(): Promise<FakeApiServer> {
    const fake = new FakeApiServer();
    fake.#dir = await mkdtemp(join(tmpdir(), 'podline-fake-api-'));
    await fake.listen();
    return fake;
  }

  /** After `away`, on the same port. */
  async listen(port = 0): Promise<void> {
    this.#server = createServer((request, response) => void this.#serve(request, response));
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
    this.kubeconfig = join(this.#dir, 'kubeconfig');
    const clusters = [
      { name: 'fake', cluster: { server: `http://127.0.0.1:${String(this.port)}`, 'insecure-skip-tls-verify': true } },
    ];
    const contexts = [{ name: 'fake', context: { cluster: 'fake', user: 'tester' } }];
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters,
      users: [{ name: 'tester', user: {} }],
      contexts,
      'current-context': 'fake',
    };
    await writeFile(this.kubeconfig, JSON.stringify(config));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Connections are cut and new ones refused, as of a server that is gone. Answers the port, for `listen`. */
  async away(): Promise<number> {
    const { port } = this;
    this.#watches.clear();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    return port;
  }

  async close(): Promise<void> {
    await this.away().catch(() => 0);
    await rm(this.#dir, { recursive: true, force: true });
  }

  put(
    path: string,
    object: Omit<KubeObject, 'metadata'> & { metadata: Partial<KubeObject['metadata']> & { name: string } },
  ): KubeObject {
    const before = this.#objects.get(path);
    const changed = JSON.stringify(before?.spec) !== JSON.stringify(object.spec);
    const stored = {
      ...object,
      metadata: {
        ...object.metadata,
        uid: before?.metadata.uid ?? object.metadata.uid ?? `uid-${String(++this.#generation)}`,
        generation: (before?.metadata.generation ?? 0) + (changed || before === undefined ? 1 : 0),
        creationTimestamp: before?.metadata.creationTimestamp ?? object.metadata.creationTimestamp ?? '2026-01-01T00:00:00Z',
        resourceVersion: String(++this.#version),
      },
    } as KubeObject;
    this.#objects.set(path, stored);
    this.#tell({ version: this.#version, type: before === undefined ? 'ADDED' : 'MODIFIED', path, object: stored });
    return stored;
  }

  delete(path: string): void {
    const object = this.#objects.get(path);
    if (object === undefined) return;
    this.#objects.delete(path);
    const gone = { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } };
    this.#tell({ version: this.#version, type: 'DELETED', path, object: gone });
  }

  get(path: string): KubeObject | undefined {
    return this.#objects.get(path);
  }

  paths(): string[] {
    return [...this.#objects.keys()];
  }

  /** Writes of a kind of request, as `METHOD path`. */
  writes(): string[] {
    return this.requests.filter(({ method }) => method !== 'GET').map(({ method, path }) => `${method} ${path}`);
  }

  get watches(): number {
    return this.#watches.size;
  }

  /** Ends the watches as a server does at their time limit. */
  endWatches(): void {
    for (const watch of this.#watches) watch.response.end();
    this.#watches.clear();
  }

  /** What happened so far is forgotten: whoever asks for an older version is told 410. */
  compact(): void {
    this.#changes = [];
  }

  /** A bookmark to all. */
  bookmark(): void {
    for (const { response } of this.#watches)
      response.write(
        `${JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: String(++this.#version) } } })}\n`,
      );
  }

  /** The watch tells of its end as the server does that has forgotten the version while it watched. */
  expireWatches(): void {
    for (const { response } of this.#watches)
      response.end(`${JSON.stringify({ type: 'ERROR', object: { code: 410, metadata: {} } })}\n`);
    this.#watches.clear();
  }

  #tell(change: Change): void {
    this.#changes.push(change);
    for (const watch of this.#watches)
      if (watch.collection.test(change.path) && isPicked(change.object, watch.selector)) send(watch.response, change);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = new URL(request.url ?? '', 'http://fake');
    const { method = 'GET' } = request;
    const body: unknown = chunks.length === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString());
    const path = url.pathname;
    this.requests.push({ method, path, query: url.searchParams, body, contentType: request.headers['content-type'] ?? '' });
    const refused = this.refusals.findIndex((refusal) => refusal.method === method && refusal.path.test(path));
    if (refused >= 0) {
      const [refusal] = this.refusals.splice(refused, 1);
      answer(response, refusal?.status ?? 500, { kind: 'Status', message: refusal?.message });
    } else if (url.searchParams.get('watch') === 'true') this.#watch(path, url.searchParams, response);
    else answer(response, ...this.#answer(method, path, url.searchParams, body));
  }

  #watch(path: string, query: URLSearchParams, response: ServerResponse): void {
    const since = Number(query.get('resourceVersion'));
    const oldest = this.#changes[0]?.version ?? this.#version + 1;
    if (since < oldest - 1) {
      answer(response, 410, { kind: 'Status', message: 'too old resource version' });
      return;
    }
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const watch = { collection: itemsOf(path), response, selector: query.get('labelSelector') ?? '' };
    for (const change of this.#changes)
      if (change.version > since && watch.collection.test(change.path) && isPicked(change.object, watch.selector))
        send(response, change);
    this.#watches.add(watch);
    response.on('close', () => this.#watches.delete(watch));
  }

  #answer(method: string, path: string, query: URLSearchParams, body: unknown): [number, unknown] {
    const scaled = this.#objects.get(path.replace(/\/scale$/, ''));
    if (method === 'PATCH' && path.endsWith('/scale') && scaled !== undefined) {
      const lines = (body as { spec: { replicas: number } }).spec.replicas;
      return [200, this.put(path.replace(/\/scale$/, ''), { ...scaled, spec: { ...(scaled.spec as object), lines } })];
    }
    const status = path.endsWith('/status');
    const target = status ? path.slice(0, -'/status'.length) : path;
    const object = this.#objects.get(target);
    if (method === 'GET' && object !== undefined) return [200, object];
    if (method === 'GET' && isCollection(path)) return [200, this.#list(path, query)];
    if (method === 'POST' && path.endsWith('/tokenreviews')) {
      const review = this.reviews?.() ?? 500;
      return typeof review === 'number' ? [review, { kind: 'Status' }] : [201, { ...(body as object), status: review }];
    }
    if (method === 'PUT') return this.#replace(path, object, body as KubeObject);
    if (method === 'POST' && this.#objects.has(`${path}/${(body as KubeObject).metadata.name}`))
      return [409, { kind: 'Status', message: 'it is there already' }];
    if (method === 'POST') return [201, this.put(`${path}/${(body as KubeObject).metadata.name}`, body as KubeObject)];
    if (method === 'PATCH' && object !== undefined)
      return [200, this.#patch(target, object, body as Partial<KubeObject>, status)];
    if (method === 'PATCH' && query.get('force') === 'true') return [201, this.put(target, body as KubeObject)];
    if (method === 'DELETE' && object !== undefined) {
      this.delete(target);
      return [200, { kind: 'Status' }];
    }
    return [404, { kind: 'Status', message: `${path} not found` }];
  }

  #replace(path: string, before: KubeObject | undefined, object: KubeObject): [number, unknown] {
    if (before === undefined) return [404, { kind: 'Status', message: `${path} not found` }];
    if (object.metadata.resourceVersion !== before.metadata.resourceVersion)
      return [409, { kind: 'Status', message: 'the object has been modified' }];
    return [200, this.put(path, object)];
  }

  #patch(path: string, object: KubeObject, patch: Partial<KubeObject>, status: boolean): KubeObject {
    const merged = { ...object, ...patch, metadata: { ...object.metadata, ...patch.metadata } };
    if (status) {
      const fields = Object.entries({ ...(object.status as object), ...(patch.status as object) }).filter(
        ([, value]) => value !== null,
      );
      merged.status = Object.fromEntries(fields);
      merged.metadata = object.metadata;
    }
    const { finalizers, deletionTimestamp } = merged.metadata;
    const stored = this.put(path, merged);
    if (deletionTimestamp !== undefined && (finalizers ?? []).length === 0) this.delete(path);
    return stored;
  }

  #list(path: string, query: URLSearchParams): unknown {
    const items = [...this.#objects]
      .filter(([key, object]) => itemsOf(path).test(key) && isPicked(object, query.get('labelSelector') ?? ''))
      .map(([, object]) => object);
    const from = Number(query.get('continue') ?? 0);
    const limit = Number(query.get('limit') ?? items.length);
    const next = from + limit < items.length ? { continue: String(from + limit) } : {};
    return { metadata: { resourceVersion: String(this.#version), ...next }, items: items.slice(from, from + limit) };
  }
}

/** Objects of a collection: of one namespace, or of all. */
function itemsOf(collection: string): RegExp {
  const [, root = '', namespaces = '', plural = ''] = /^(.*?)(\/namespaces\/[^/]+)?\/([^/]+)$/.exec(collection) ?? [];
  return new RegExp(`^${root}${namespaces === '' ? '(/namespaces/[^/]+)?' : namespaces}/${plural}/[^/]+$`);
}
const isCollection = (path: string): boolean => /^\/(api\/v1|apis\/[^/]+\/[^/]+)(\/namespaces\/[^/]+)?\/[^/]+s$/.test(path);
const isPicked = ({ metadata }: KubeObject, selector: string): boolean =>
  selector === '' || selector.split(',').every((term) => metadata.labels?.[term.split('=')[0] ?? ''] === term.split('=')[1]);
const send = (response: ServerResponse, { type, object }: Change): void =>
  void response.write(`${JSON.stringify({ type, object })}\n`);
function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
