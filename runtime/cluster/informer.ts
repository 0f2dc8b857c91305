/**
 * The objects of one kind as the API server has them, kept by a list and a watch.
 *
 * Owns the cache, the connection of its watch and its timers; `close()` ends them.
 *
 * Invariants
 *  1. After `start` the cache holds what the server had at some moment since, and follows it. What changes or goes is told once, what is
 *     there is told again every `resyncMs`: a consumer that lost a call is made whole.
 *  2. A watch that ends goes on from the last version that was seen. Where the server has forgotten that version (410), everything is
 *     listed anew, and what went meanwhile is told as gone.
 *  3. A server that is away is asked again with growing, random waits, for ever; the cache stays as it was.
 *  4. A list is read in pages, so that no answer is larger than a page.
 */
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import { KubeFailure } from './kube.js';
import { isStatus, type KubeObject, type KubeRest, type WatchEvent } from './kube-rest.js';

export interface InformerOptions<T extends KubeObject> {
  rest: KubeRest;
  /** Of the collection. */
  path: string;
  labelSelector?: string | undefined;
  resyncMs: number;
  clock: Clock;
  /** [0, 1) */
  random: () => number;
  logger: Logger;
  /** `before` is absent when it is new, and the same object at a resync. */
  onChange: (object: T, before: T | undefined) => void;
  onGone: (object: T) => void;
}

const pageItems = '500';
/** The server ends a watch after this; random, so that those of a fleet do not end together. */
const watchSeconds = { least: 240, spread: 120 };
const silenceMs = (watchSeconds.least + watchSeconds.spread + 30) * 1_000;
const againMs = { initial: 200, max: 30_000 };
/** A watch that ended sooner has not worked. */
const soundMs = 1_000;

export const keyOf = ({ metadata: { namespace, name } }: KubeObject): string => `${namespace ?? ''}/${name}`;

export class Informer<T extends KubeObject> {
  #objects = new Map<string, T>();
  #version: string | undefined;
  #failures = 0;
  #resync: (() => void) | undefined;
  readonly #ending = new AbortController();
  #running: Promise<void> | undefined;

  constructor(private readonly options: InformerOptions<T>) {}

  /** Resolves when everything was listed once. Goes on until `close()`; where the server is away it waits for it. */
  start(): Promise<void> {
    return new Promise((resolve) => {
      this.#running ??= this.#run(resolve);
      this.#armResync();
    });
  }

  get(namespace: string | undefined, name: string): T | undefined {
    return this.#objects.get(`${namespace ?? ''}/${name}`);
  }

  all(): T[] {
    return [...this.#objects.values()];
  }

  async close(): Promise<void> {
    this.#ending.abort();
    this.#resync?.();
    await this.#running;
  }

  async #run(listed: () => void): Promise<void> {
    const { clock, logger, path } = this.options;
    const { signal } = this.#ending;
    while (!signal.aborted) {
      const beganMs = clock.nowMs();
      try {
        if (this.#version === undefined) {
          await this.#list();
          listed();
        }
        await this.#watch();
        if (clock.nowMs() - beganMs >= soundMs) this.#failures = 0;
        else this.#failures += 1;
      } catch (thrown) {
        if (this.#isClosed()) break;
        // What was missed cannot be told any more: everything is looked at anew, at once.
        if (isStatus(thrown, 410) && this.#version !== undefined) {
          this.#version = undefined;
          logger.debug({ path }, 'the watch is too old: everything is listed anew');
          continue;
        }
        this.#failures += 1;
        logger.warn({ path, failures: this.#failures, err: String(thrown) }, 'the watch broke; it is opened again');
      }
      if (this.#failures > 0) await this.#wait();
    }
    listed();
  }

  /** Asked anew: it may have been closed meanwhile. */
  #isClosed(): boolean {
    return this.#ending.signal.aborted;
  }

  async #list(): Promise<void> {
    const { rest, path, labelSelector } = this.options;
    const found = new Map<string, T>();
    let next: string | undefined;
    let version: string | undefined;
    do {
      const query = { labelSelector, limit: pageItems, continue: next };
      const page = await rest.request<{ metadata: { resourceVersion?: string; continue?: string }; items: T[] }>('GET', path, {
        query,
        signal: this.#ending.signal,
      });
      for (const object of page.items) found.set(keyOf(object), object);
      next = page.metadata.continue === '' ? undefined : page.metadata.continue;
      version = page.metadata.resourceVersion;
    } while (next !== undefined);
    const before = this.#objects;
    this.#objects = found;
    this.#version = version ?? '';
    for (const [key, object] of before) if (!found.has(key)) this.options.onGone(object);
    for (const [key, object] of found) {
      const known = before.get(key);
      if (known?.metadata.resourceVersion !== object.metadata.resourceVersion) this.options.onChange(object, known);
    }
  }

  async #watch(): Promise<void> {
    const { rest, path, labelSelector, random } = this.options;
    await rest.watch(path, {
      query: {
        labelSelector,
        resourceVersion: this.#version,
        allowWatchBookmarks: 'true',
        timeoutSeconds: String(Math.round(watchSeconds.least + random() * watchSeconds.spread)),
      },
      silenceMs,
      signal: this.#ending.signal,
      onEvent: (event) => {
        this.#heed(event);
      },
    });
  }

  #heed({ type, object }: WatchEvent): void {
    if (type === 'ERROR') throw new KubeFailure(object.code, `the watch ended: ${JSON.stringify(object)}`);
    this.#version = object.metadata.resourceVersion ?? this.#version;
    this.#failures = 0;
    if (type === 'BOOKMARK') return;
    const key = keyOf(object);
    const before = this.#objects.get(key);
    if (type === 'DELETED') {
      this.#objects.delete(key);
      this.options.onGone(object as T);
    } else {
      this.#objects.set(key, object as T);
      this.options.onChange(object as T, before);
    }
  }

  #wait(): Promise<void> {
    const { clock, random } = this.options;
    const { signal } = this.#ending;
    const limitMs = Math.min(againMs.max, againMs.initial * 2 ** Math.min(this.#failures - 1, 20));
    return new Promise((resolve) => {
      const end = (): void => {
        cancel();
        signal.removeEventListener('abort', end);
        resolve();
      };
      const cancel = clock.after(limitMs * (0.5 + random() / 2), end);
      signal.addEventListener('abort', end);
    });
  }

  #armResync(): void {
    this.#resync = this.options.clock.after(this.options.resyncMs, () => {
      for (const object of this.#objects.values()) this.options.onChange(object, object);
      if (!this.#ending.signal.aborted) this.#armResync();
    });
  }
}
