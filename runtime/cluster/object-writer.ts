/**
 * Creates the objects of a plan, mends them where somebody else changed them, and removes what is planned no more.
 *
 * Owns what it remembers of each object: what was sent, and the version that came of it.
 *
 * Invariants
 *  1. All writes are server-side applies under one field manager: fields that are not in a plan are left alone.
 *  2. An object is sent when its plan is another one than was last sent, or when the object is. Between two looks at what is there lies
 *     `verifyMs`, unless there is reason to `doubt` it; they are reads. A doubt that comes while the object is written is for the next look.
 *  3. A process that is new sends everything once, which changes nothing where everything is as it should be.
 */
import type { Clock } from '../platform/clock.js';
import { canonicalJson } from '../line/lineage.js';
import { isStatus, patchType, type KubeObject, type KubeRest } from './kube-rest.js';
import { labels } from './names.js';
import { collectionPath, objectPath, resourceOf } from './resources.js';

export const fieldManager = 'podline';
const verifyMs = 60_000;

interface Sent {
  text: string;
  /** The object's generation, which counts changes of its specification; its version, where it has none. */
  mark: string;
  verifiedMs: number;
  isDoubted: boolean;
}

const neverSent: Sent = { text: '', mark: '', verifiedMs: 0, isDoubted: false };

export class ObjectWriter {
  /** By owner, by path. */
  readonly #sent = new Map<string, Map<string, Sent>>();

  constructor(
    private readonly rest: KubeRest,
    private readonly clock: Clock,
  ) {}

  /**
   * All objects of `owner`, in the order in which they are created. `maybe`: paths of objects that an earlier process may have created, and
   * that go unless they are planned. Throws KubeFailure of the first that is refused.
   */
  async write(owner: string, objects: readonly KubeObject[], maybe: readonly string[] = []): Promise<void> {
    let sent = this.#sent.get(owner);
    if (sent === undefined) {
      sent = new Map(maybe.map((path) => [path, neverSent]));
      await this.#findStale(objects, sent);
      this.#sent.set(owner, sent);
    }
    const planned = new Set<string>();
    for (const object of objects) {
      const path = objectPath(resourceOf(object), object.metadata);
      planned.add(path);
      await this.#writeOne(path, object, sent);
    }
    for (const path of sent.keys()) {
      if (planned.has(path)) continue;
      await this.#remove(path);
      sent.delete(path);
    }
  }

  /** An object was seen as it is said to be. Unless that is our own doing, it is read again at the next `write`; answers whether. */
  doubt(owner: string, path: string, object: KubeObject | undefined): boolean {
    const sent = this.#sent.get(owner)?.get(path);
    if (sent === undefined || sent.text === '' || (object !== undefined && markOf(object) === sent.mark)) return false;
    sent.isDoubted = true;
    return true;
  }

  forget(owner: string): void {
    this.#sent.delete(owner);
  }

  async #writeOne(path: string, object: KubeObject, sent: Map<string, Sent>): Promise<void> {
    const text = canonicalJson(JSON.parse(JSON.stringify(object)));
    const nowMs = this.clock.nowMs();
    const before = sent.get(path);
    if (before?.text === text) {
      if (!before.isDoubted && nowMs - before.verifiedMs < verifyMs) return;
      before.verifiedMs = nowMs;
      before.isDoubted = false;
      if ((await this.#markAt(path)) === before.mark) return;
    }
    const stored = await this.rest.request<KubeObject>('PATCH', path, {
      body: object,
      contentType: patchType.apply,
      query: { fieldManager, force: 'true' },
    });
    // Of what is deleted while it is sent, the answer says nothing.
    sent.set(path, { text, mark: markOf(stored), verifiedMs: nowMs, isDoubted: before?.isDoubted ?? false });
  }

  async #markAt(path: string): Promise<string | undefined> {
    try {
      return markOf(await this.rest.request<KubeObject>('GET', path));
    } catch (thrown) {
      if (isStatus(thrown, 404)) return undefined;
      throw thrown;
    }
  }

  /** Jobs for images that an earlier process planned and nobody plans now. Objects of other kinds keep their names. */
  async #findStale(objects: readonly KubeObject[], sent: Map<string, Sent>): Promise<void> {
    const job = objects.find(({ kind }) => kind === 'ImagePullJob');
    if (job === undefined) return;
    const resource = resourceOf(job);
    const { namespace, labels: its } = job.metadata;
    const { items } = await this.rest.request<{ items: KubeObject[] }>('GET', collectionPath(resource, namespace), {
      query: { labelSelector: `${labels.managedBy}=podline,${labels.pipeline}=${its?.[labels.pipeline] ?? ''}` },
    });
    for (const { metadata } of items) sent.set(objectPath(resource, metadata), neverSent);
  }

  async #remove(path: string): Promise<void> {
    try {
      await this.rest.request('DELETE', path, { query: { propagationPolicy: 'Background' } });
    } catch (thrown) {
      if (!isStatus(thrown, 404)) throw thrown;
    }
  }
}

const markOf = ({ metadata: { uid, generation, resourceVersion } }: KubeObject): string =>
  `${uid ?? ''} ${generation === undefined ? (resourceVersion ?? '') : String(generation)}`;
