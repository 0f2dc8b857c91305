/**
 * Tokens of lines in a cluster: the kubelet makes one for each pod, for us alone, and ends it with the pod. Whose it is says the API
 * server (TokenReview); which pipeline the pod works for, its label.
 *
 * Owns what it remembers of tokens. Invariants
 *  1. A token is good for one line, that of its pod, and for its pipeline; only while the pod is there.
 *  2. What is known is looked at again after `freshMs`, beside the call; an answer of the API server that has not come changes nothing
 *     for `staleMs`: lines work on while it is away. So a right ends `freshMs` after its pod, and a call later.
 *  3. What is remembered is bounded; of a look that failed nothing is.
 */
import type { Caller, Gate } from '../contracts/access.js';
import { PodlineError } from '../contracts/errors.js';
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import { isStatus, type KubeObject, type KubeRest } from './kube-rest.js';
import { labels } from './names.js';
import { objectPath } from './resources.js';

export interface PodTokensOptions {
  rest: Pick<KubeRest, 'request'>;
  audience: string;
  /** Lines of one namespace, or of all without it. */
  watched: string | undefined;
  /** Behind the names of pods and pipelines of that namespace. */
  suffixOf: (namespace: string) => string;
  clock: Clock;
  logger: Logger;
}

interface Known {
  caller: Caller | undefined;
  askedMs: number;
  asking: Promise<Caller | undefined> | undefined;
}
interface TokenReview {
  status?: {
    authenticated?: boolean;
    audiences?: string[];
    user?: { username?: string; extra?: Record<string, string[]> };
  };
}

const freshMs = 60_000;
const staleMs = 600_000;
/** Of one that was refused: whoever has it may not make us ask all the time. */
const refusedMs = 10_000;
const knownMax = 16_384;
const extra = 'authentication.kubernetes.io/pod-';

export class PodTokens implements Gate {
  readonly #known = new Map<string, Known>();

  constructor(private readonly options: PodTokensOptions) {}

  identify(token: string): Caller | undefined | Promise<Caller | undefined> {
    const nowMs = this.options.clock.nowMs();
    const known = this.#known.get(token);
    if (known === undefined) return isFor(token, this.options.audience) ? this.#ask(token, this.#remember(token)) : undefined;
    const ageMs = nowMs - known.askedMs;
    if (ageMs < (known.caller === undefined ? refusedMs : freshMs)) return known.caller;
    const asked = this.#ask(token, known);
    if (known.caller === undefined || ageMs >= staleMs) return asked;
    // It was good a moment ago: nobody waits for the answer.
    asked.catch(() => undefined);
    return known.caller;
  }

  #remember(token: string): Known {
    for (const [oldest] of this.#known) {
      if (this.#known.size < knownMax) break;
      this.#known.delete(oldest);
    }
    const known: Known = { caller: undefined, askedMs: Number.NEGATIVE_INFINITY, asking: undefined };
    this.#known.set(token, known);
    return known;
  }

  /** One question at a time about a token. */
  #ask(token: string, known: Known): Promise<Caller | undefined> {
    known.asking ??= this.#review(token)
      .then((caller) => {
        known.caller = caller;
        known.askedMs = this.options.clock.nowMs();
        return caller;
      })
      .finally(() => {
        known.asking = undefined;
      });
    return known.asking;
  }

  async #review(token: string): Promise<Caller | undefined> {
    const { rest, audience, watched } = this.options;
    const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token, audiences: [audience] } };
    const review = await this.#asked('a TokenReview', () =>
      rest.request<TokenReview>('POST', '/apis/authentication.k8s.io/v1/tokenreviews', { body }),
    );
    const status = review?.status;
    if (status?.authenticated !== true || status.audiences?.includes(audience) !== true) return undefined;
    const namespace = /^system:serviceaccount:([^:]+):/.exec(status.user?.username ?? '')?.[1];
    const [name] = status.user?.extra?.[`${extra}name`] ?? [];
    const [uid] = status.user?.extra?.[`${extra}uid`] ?? [];
    if (namespace === undefined || name === undefined || (watched !== undefined && namespace !== watched)) return undefined;
    const pod = await this.#asked('for a pod', () => rest.request<KubeObject>('GET', objectPath('Pod', { namespace, name })));
    const its = pod?.metadata.labels ?? {};
    const of = its[labels.pipeline];
    if (pod?.metadata.uid !== uid || of === undefined || its[labels.app] !== 'podline-line') return undefined;
    const suffix = this.options.suffixOf(namespace);
    const [line, pipeline] = [`${name}${suffix}`, `${of}${suffix}`];
    return {
      name: `line ${line}`,
      kind: 'line',
      may: (action) =>
        action.scope === 'line' && action.line === line && (action.pipeline === undefined || action.pipeline === pipeline),
    };
  }

  /** Undefined: there is no such thing. */
  async #asked<T>(what: string, ask: () => Promise<T>): Promise<T | undefined> {
    try {
      return await ask();
    } catch (thrown) {
      if (isStatus(thrown, 404)) return undefined;
      const { status } = thrown as { status?: number };
      this.options.logger.warn({ asked: what, status }, 'the API server could not be asked whose token it is');
      throw new PodlineError('PDL_UNREACHABLE', `the API server did not answer ${what} (${String(status ?? 'no answer')})`, {
        hint: 'The coordinator’s account needs the role system:auth-delegator.',
      });
    }
  }
}

/** Whether it says so of itself: cheap, and no proof. Other tokens are other gates' business. */
function isFor(token: string, audience: string): boolean {
  const [, payload, ...rest] = token.split('.');
  if (payload === undefined || rest.length !== 1) return false;
  try {
    const { aud } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { aud?: unknown };
    return aud === audience || (Array.isArray(aud) && aud.includes(audience));
  } catch {
    return false;
  }
}
