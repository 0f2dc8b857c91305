import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openKubeRest, type KubeRest } from '../../../runtime/cluster/kube-rest.js';
import { PodTokens } from '../../../runtime/cluster/pod-tokens.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { ManualClock } from '../../support/manual-clock.js';
import { FakeApiServer } from './fake-api-server.js';

const audience = 'podline.podline.dev';
const reviews = '/apis/authentication.k8s.io/v1/tokenreviews';
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const tokenFor = (...aud: string[]): string => `${encode({ alg: 'RS256' })}.${encode({ aud })}.c2ln`;
const podPath = (name: string, namespace = 'podline'): string => `/api/v1/namespaces/${namespace}/pods/${name}`;
const pod = (name: string, uid: string, namespace = 'podline', labels: Record<string, string> = {}) => ({
  kind: 'Pod',
  metadata: {
    name,
    namespace,
    uid,
    labels: { 'app.kubernetes.io/name': 'podline-line', 'podline.dev/pipeline': 'flights', ...labels },
  },
});

let server: FakeApiServer;
let rest: KubeRest;
let clock: ManualClock;
let tokens: PodTokens;

/** What the next reviews answer. */
const says = (name: string, uid: string, namespace = 'podline', more: object = {}): void => {
  server.reviews = () => ({
    authenticated: true,
    audiences: [audience],
    user: {
      username: `system:serviceaccount:${namespace}:default`,
      extra: { 'authentication.kubernetes.io/pod-name': [name], 'authentication.kubernetes.io/pod-uid': [uid] },
    },
    ...more,
  });
};
const asked = (): number => server.requests.filter(({ path }) => path === reviews).length;

function open(watched: string | undefined = 'podline'): void {
  const suffixOf = (namespace: string): string => (namespace === 'podline' ? '' : `.${namespace}`);
  tokens = new PodTokens({ rest, audience, watched, suffixOf, clock, logger: silentLogger });
}

beforeEach(async () => {
  server = await FakeApiServer.start();
  rest = openKubeRest({ kubeconfig: server.kubeconfig });
  clock = new ManualClock();
  server.put(podPath('flights-0'), pod('flights-0', 'u0'));
  open();
});
afterEach(async () => {
  rest.close();
  await server.close();
});

describe('the token of a line’s pod', () => {
  it('is good for that line and its pipeline, and for nothing else', async () => {
    says('flights-0', 'u0');
    const caller = await tokens.identify(tokenFor(audience));
    expect(caller).toMatchObject({ name: 'line flights-0', kind: 'line' });
    expect(caller?.may({ scope: 'line', line: 'flights-0', pipeline: 'flights' })).toBe(true);
    expect(caller?.may({ scope: 'line', line: 'flights-1', pipeline: 'flights' })).toBe(false);
    expect(caller?.may({ scope: 'line', line: 'flights-0', pipeline: 'other' })).toBe(false);
    expect(caller?.may({ scope: 'read', pipeline: 'flights' })).toBe(false);
    expect(server.requests[0]?.body).toMatchObject({ spec: { audiences: [audience] } });
  });

  it('is not asked about where it was made for somebody else', () => {
    for (const other of ['secret', 'a.b.c', tokenFor('https://kubernetes.default.svc'), `${tokenFor(audience)}.more`])
      expect(tokens.identify(other)).toBeUndefined();
    expect(asked()).toBe(0);
  });

  it.each([
    ['is refused by the API server', () => says('flights-0', 'u0', 'podline', { authenticated: false })],
    ['is for another audience', () => says('flights-0', 'u0', 'podline', { audiences: ['api'] })],
    ['is of a pod that is there no more', () => says('flights-9', 'u9')],
    ['is of an earlier pod of that name', () => says('flights-0', 'u-before')],
    ['is of another namespace', () => says('flights-0', 'u0', 'elsewhere')],
    ['is of no pod', () => (server.reviews = () => ({ authenticated: true, audiences: [audience], user: { username: 'ada' } }))],
  ])('is nobody’s when it %s', async (_, arrange) => {
    arrange();
    expect(await tokens.identify(tokenFor(audience))).toBeUndefined();
  });

  it('is nobody’s when its pod is no line', async () => {
    server.put(podPath('web-0'), pod('web-0', 'w', 'podline', { 'app.kubernetes.io/name': 'web' }));
    says('web-0', 'w');
    expect(await tokens.identify(tokenFor(audience))).toBeUndefined();
  });

  it('names lines and pipelines of other namespaces with the namespace, where all are watched', async () => {
    open(undefined);
    tokens = new PodTokens({
      rest,
      audience,
      watched: undefined,
      suffixOf: (namespace) => (namespace === 'podline' ? '' : `.${namespace}`),
      clock,
      logger: silentLogger,
    });
    server.put(podPath('flights-0', 'team'), pod('flights-0', 't0', 'team'));
    says('flights-0', 't0', 'team');
    const caller = await tokens.identify(tokenFor(audience));
    expect(caller?.may({ scope: 'line', line: 'flights-0.team', pipeline: 'flights.team' })).toBe(true);
    expect(caller?.may({ scope: 'line', line: 'flights-0', pipeline: 'flights' })).toBe(false);
  });

  it('is asked about once a minute, and without waiting for the answer', async () => {
    says('flights-0', 'u0');
    const token = tokenFor(audience);
    const caller = await tokens.identify(token);
    expect(tokens.identify(token)).toBe(caller);
    expect(asked()).toBe(1);
    await clock.advance(61_000, async () => undefined);
    expect(tokens.identify(token)).toBe(caller);
    await expect.poll(asked).toBe(2);
  });

  it('goes on being good while the API server is away, and ends when it says so', async () => {
    says('flights-0', 'u0');
    const token = tokenFor(audience);
    const caller = await tokens.identify(token);
    server.reviews = () => 503;
    await clock.advance(300_000, async () => undefined);
    expect(tokens.identify(token)).toBe(caller);
    await expect.poll(asked).toBe(2);
    says('flights-0', 'u0', 'podline', { authenticated: false });
    await expect.poll(() => tokens.identify(token)).toBeUndefined();
  });

  it('is an error, and not a refusal, where nobody could be asked', async () => {
    server.reviews = () => 503;
    await expect(tokens.identify(tokenFor(audience))).rejects.toMatchObject({ code: 'PDL_UNREACHABLE' });
    says('flights-0', 'u0');
    expect(await tokens.identify(tokenFor(audience))).toMatchObject({ name: 'line flights-0' });
  });
});
