/**
 * Tokens of accounts of the cluster: who it is by TokenReview, what it may by SubjectAccessReview on
 * `pipelines.podline.dev` with the scope as the verb, so that a Role of the cluster grants `submit` on a pipeline.
 *
 * Invariants
 *  1. An answer is remembered for `rememberMs`, by the hash of the token: a right that is taken back ends within that time.
 *  2. Nothing is remembered of a review that failed: PDL_UNREACHABLE, and the caller asks again.
 *  3. What is remembered is bounded.
 */
import { createHash } from 'node:crypto';
import {
  AuthenticationV1Api,
  AuthorizationV1Api,
  KubeConfig,
  type V1SubjectAccessReview,
  type V1TokenReview,
  type V1UserInfo,
} from '@kubernetes/client-node';
import type { Action, Caller, Gate } from '../contracts/access.js';
import { PodlineError } from '../contracts/errors.js';
import { systemClock, type Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';

export interface TokenReviewOptions {
  audiences: readonly string[];
  namespace?: string | undefined;
  logger: Logger;
  /** Without it, what kubectl would use, or the pod's own account. */
  config?: KubeConfig | undefined;
  clock?: Clock | undefined;
}

const rememberMs = 60_000;
const rememberedMax = 4_096;
const group = 'podline.dev';
const resource = 'pipelines';

class Memory<T> {
  readonly #entries = new Map<string, { value: Promise<T>; untilMs: number }>();

  constructor(private readonly clock: Clock) {}

  get(key: string, ask: () => Promise<T>): Promise<T> {
    const known = this.#entries.get(key);
    if (known !== undefined && known.untilMs > this.clock.nowMs()) return known.value;
    this.#entries.delete(key);
    for (const [oldest] of this.#entries) {
      if (this.#entries.size < rememberedMax) break;
      this.#entries.delete(oldest);
    }
    const value = ask();
    const entry = { value, untilMs: this.clock.nowMs() + rememberMs };
    this.#entries.set(key, entry);
    value.catch(() => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
    });
    return value;
  }
}

export function openTokenReview(options: TokenReviewOptions): Gate {
  const config = options.config ?? new KubeConfig();
  if (options.config === undefined) config.loadFromDefault();
  const authentication = config.makeApiClient(AuthenticationV1Api);
  const authorization = config.makeApiClient(AuthorizationV1Api);
  const clock = options.clock ?? systemClock;
  const callers = new Memory<Caller | undefined>(clock);
  const namespace = options.namespace ?? config.getContextObject(config.getCurrentContext())?.namespace ?? 'default';

  const review = async (token: string): Promise<Caller | undefined> => {
    const spec = { token, ...(options.audiences.length === 0 ? {} : { audiences: [...options.audiences] }) };
    const body: unknown = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec };
    const { status } = await asked('TokenReview', () => authentication.createTokenReview({ body: body as V1TokenReview }));
    const isFor = options.audiences.length === 0 || options.audiences.some((audience) => status?.audiences?.includes(audience));
    if (status?.authenticated !== true || status.user?.username === undefined || !isFor) return undefined;
    return callerOf(status.user, status.user.username);
  };

  const callerOf = (user: V1UserInfo, name: string): Caller => {
    const rights = new Memory<boolean>(clock);
    const may = ({ scope, pipeline }: Action): Promise<boolean> =>
      rights.get(`${scope} ${pipeline ?? '*'}`, async () => {
        const resourceAttributes = {
          group,
          resource,
          verb: scope,
          namespace,
          ...(pipeline === undefined ? {} : { name: pipeline }),
        };
        const spec = {
          user: name,
          groups: user.groups ?? [],
          ...(user.uid === undefined ? {} : { uid: user.uid }),
          extra: user.extra ?? {},
          resourceAttributes,
        };
        const body: unknown = { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec };
        const { status } = await asked('SubjectAccessReview', () =>
          authorization.createSubjectAccessReview({ body: body as V1SubjectAccessReview }),
        );
        return status?.allowed === true && status.denied !== true;
      });
    return { name, kind: 'account', may };
  };

  const asked = async <T>(what: string, ask: () => Promise<T>): Promise<T> => {
    try {
      return await ask();
    } catch (thrown) {
      // Without the message: a client's error may hold the request, and the request the token.
      const status = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'no answer';
      options.logger.error({ review: what, status }, 'the cluster could not be asked whose token it is');
      throw new PodlineError('PDL_UNREACHABLE', `the cluster did not answer a ${what} (${status})`, {
        hint: 'The coordinator’s account needs the role system:auth-delegator.',
      });
    }
  };

  return { identify: (token) => callers.get(createHash('sha256').update(token).digest('base64url'), () => review(token)) };
}
