/**
 * The capacity of a namespace: its ResourceQuotas and LimitRanges, followed as they change, without what the lines themselves use.
 *
 * Owns two watches and a timer; `close()` ends them. Invariants
 *  1. What it answers is what the API server said last; while that is away, it stays.
 *  2. A change is heard of through the watch. One that fell between two watches is found when the next one begins, and one that a watch
 *     has kept to itself by the next list: after `listMs` at the latest.
 *  3. Usage by others is `status.used` minus what our own pods take: lines are not counted twice. Pods are listed where there is a quota
 *     that counts them, which then tells of each that comes or goes.
 */
import type { Capacity, LineCost, Quota } from '../contracts/capacity.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import { labels } from './names.js';
import { lineCostOf, quotasOf, usedByPods, type LimitRange, type PodSpec, type ResourceQuota } from './quota-plan.js';

/** The part of a connection to the API server that this needs. */
export interface KubeReader {
  request<T>(
    method: 'GET',
    path: string,
    options?: { query?: Record<string, string | undefined>; signal?: AbortSignal },
  ): Promise<T>;
  /** Resolves when the server ends the stream. */
  watch(
    path: string,
    options: {
      query?: Record<string, string | undefined>;
      signal?: AbortSignal;
      silenceMs: number;
      onEvent: (event: { type: string }) => void;
    },
  ): Promise<void>;
}

export interface QuotaWatchOptions {
  rest: KubeReader;
  namespace: string;
  /** The pod of a line, as the driver makes it. */
  podOf: (pipeline: Pipeline) => PodSpec;
  clock: Clock;
  logger: Logger;
}

export interface QuotaWatch extends Capacity {
  close(): Promise<void>;
}

const listMs = 60_000;
/** Several changes that come together are one. */
const gatherMs = 50;
const silenceMs = 300_000;

interface Seen {
  quotas: ResourceQuota[];
  ranges: LimitRange[];
  pods: PodSpec[];
}

/** Resolves when everything was listed once. Throws KubeFailure when it could not be. */
export async function openQuotaWatch(options: QuotaWatchOptions): Promise<QuotaWatch> {
  const watch = new NamespaceQuota(options);
  await watch.start();
  return watch;
}

class NamespaceQuota implements QuotaWatch {
  #seen: Seen = { quotas: [], ranges: [], pods: [] };
  /** The same as text: what is listed again is, as a rule, what was there. */
  #seenText = '';
  /** Made of it, until it changes: of a thousand pods it takes a while, and it is asked for every second. */
  #quotas: readonly Quota[] | undefined;
  readonly #listeners = new Set<() => void>();
  readonly #ending = new AbortController();
  readonly #watches: Promise<void>[] = [];
  #callOff: (() => void) | undefined;
  #listing: Promise<void> = Promise.resolve();

  constructor(private readonly options: QuotaWatchOptions) {}

  async start(): Promise<void> {
    await this.#list();
    for (const kind of ['resourcequotas', 'limitranges']) this.#watches.push(this.#watch(kind));
    this.#arm(listMs);
  }

  costOf(pipeline: Pipeline): LineCost {
    const { ranges, quotas } = this.#seen;
    return lineCostOf(this.options.podOf(pipeline), ranges, quotas);
  }

  quotas(): readonly Quota[] {
    const { quotas, pods, ranges } = this.#seen;
    // Scopes are those of pods of lines; where there is none yet, of one that says nothing.
    return (this.#quotas ??= quotasOf(quotas, pods[0] ?? { containers: [] }, usedByPods(pods, ranges)));
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#ending.abort();
    this.#callOff?.();
    await Promise.all([this.#listing, ...this.#watches]);
  }

  #arm(ms: number): void {
    this.#callOff?.();
    if (this.#ending.signal.aborted) return;
    this.#callOff = this.options.clock.after(ms, () => {
      this.#listing = this.#list()
        .catch((thrown: unknown) => {
          if (!this.#ending.signal.aborted)
            this.options.logger.warn({ err: String(thrown) }, 'the quotas could not be read; those that were read last hold');
        })
        .finally(() => {
          this.#arm(listMs);
        });
    });
  }

  async #list(): Promise<void> {
    const { rest, namespace } = this.options;
    const { signal } = this.#ending;
    const base = `/api/v1/namespaces/${namespace}`;
    const [quotas, ranges] = await Promise.all([
      rest.request<{ items: ResourceQuota[] }>('GET', `${base}/resourcequotas`, { signal }),
      rest.request<{ items: LimitRange[] }>('GET', `${base}/limitranges`, { signal }),
    ]);
    const pods = quotas.items.length === 0 ? [] : await this.#pods();
    const seen = { quotas: quotas.items, ranges: ranges.items, pods };
    const text = JSON.stringify(seen);
    if (text === this.#seenText) return;
    [this.#seen, this.#seenText, this.#quotas] = [seen, text, undefined];
    for (const listener of this.#listeners) listener();
  }

  /** Of lines, as far as quotas count them: not those that have ended. */
  async #pods(): Promise<PodSpec[]> {
    const { rest, namespace } = this.options;
    const query = { labelSelector: `${labels.app}=podline-line` };
    const { items } = await rest.request<{ items: { spec: PodSpec; status?: { phase?: string } }[] }>(
      'GET',
      `/api/v1/namespaces/${namespace}/pods`,
      { query, signal: this.#ending.signal },
    );
    const alive = items.filter(({ status }) => status?.phase !== 'Succeeded' && status?.phase !== 'Failed');
    return alive.map(({ spec }) => spec);
  }

  /** Any event is a reason to look; what is true, the list says. */
  async #watch(kind: string): Promise<void> {
    const { rest, namespace, clock } = this.options;
    const { signal } = this.#ending;
    const isEnding = (): boolean => signal.aborted;
    while (!isEnding()) {
      await rest
        .watch(`/api/v1/namespaces/${namespace}/${kind}`, {
          signal,
          silenceMs,
          onEvent: () => {
            this.#arm(gatherMs);
          },
        })
        .catch(() => undefined);
      if (isEnding()) return;
      await new Promise<void>((resolve) => {
        const end = (): void => {
          callOff();
          signal.removeEventListener('abort', end);
          resolve();
        };
        const callOff = clock.after(1_000, end);
        signal.addEventListener('abort', end);
      });
      this.#arm(gatherMs);
    }
  }
}
