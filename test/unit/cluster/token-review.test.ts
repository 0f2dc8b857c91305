import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { KubeConfig } from '@kubernetes/client-node';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openTokenReview } from '../../../runtime/cluster/token-review.js';
import type { Gate } from '../../../runtime/contracts/access.js';
import { recorder } from '../../support/api.js';
import { ManualClock } from '../../support/manual-clock.js';

interface Review {
  kind: string;
  spec: { token?: string; audiences?: string[]; user?: string; groups?: string[]; resourceAttributes?: Record<string, string> };
}

interface Fake {
  gate: Gate;
  asked: Review[];
  clock: ManualClock;
  logged: Record<string, unknown>[];
  answer: (review: Review) => Record<string, unknown> | number;
}

/** An API server that knows the two reviews. */
async function fake(audiences: string[] = []): Promise<Fake> {
  const asked: Review[] = [];
  const clock = new ManualClock();
  const logged: Record<string, unknown>[] = [];
  const state: Pick<Fake, 'answer'> = { answer: () => 500 };
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString()));
    request.on('end', () => {
      const review = JSON.parse(text) as Review;
      asked.push(review);
      const status = state.answer(review);
      response.writeHead(typeof status === 'number' ? status : 201, { 'content-type': 'application/json' });
      response.end(JSON.stringify(typeof status === 'number' ? { kind: 'Status', message: text } : { ...review, status }));
    });
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const config = new KubeConfig();
  config.loadFromOptions({
    clusters: [{ name: 'c', server: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`, skipTLSVerify: true }],
    users: [{ name: 'u' }],
    contexts: [{ name: 'x', cluster: 'c', user: 'u', namespace: 'lines' }],
    currentContext: 'x',
  });
  const gate = openTokenReview({ audiences, logger: recorder(logged), config, clock });
  return Object.assign(state, { gate, asked, clock, logged });
}

const ada = { authenticated: true, user: { username: 'system:serviceaccount:a:ada', uid: '1', groups: ['analysts'] } };

describe('a token of the cluster', () => {
  it('is who TokenReview says, and may what SubjectAccessReview says of pipelines', async () => {
    const api = await fake();
    api.answer = ({ kind, spec }) =>
      kind === 'TokenReview'
        ? ada
        : { allowed: spec.resourceAttributes?.['verb'] === 'submit' && spec.resourceAttributes['name'] === 'flights' };
    const caller = await api.gate.identify('a-token');
    expect(caller).toMatchObject({ name: ada.user.username, kind: 'account' });
    expect(await caller?.may({ scope: 'submit', pipeline: 'flights' })).toBe(true);
    expect(await caller?.may({ scope: 'submit', pipeline: 'other' })).toBe(false);
    expect(await caller?.may({ scope: 'read' })).toBe(false);
    expect(api.asked[1]?.spec).toMatchObject({
      user: ada.user.username,
      groups: ['analysts'],
      resourceAttributes: { group: 'podline.dev', resource: 'pipelines', verb: 'submit', namespace: 'lines', name: 'flights' },
    });
    expect(api.asked[3]?.spec.resourceAttributes).not.toHaveProperty('name');
  });

  it('is remembered for a minute, and its rights too', async () => {
    const api = await fake();
    api.answer = ({ kind }) => (kind === 'TokenReview' ? ada : { allowed: true });
    for (let times = 0; times < 3; times += 1)
      expect(await (await api.gate.identify('a-token'))?.may({ scope: 'read' })).toBe(true);
    expect(api.asked).toHaveLength(2);
    api.clock.stall(61_000);
    api.answer = ({ kind }) => (kind === 'TokenReview' ? { authenticated: false } : { allowed: true });
    expect(await api.gate.identify('a-token')).toBeUndefined();
  });

  it('is refused when it is not known, or was made for somebody else', async () => {
    const api = await fake(['podline']);
    api.answer = () => ({ authenticated: false, error: 'expired' });
    expect(await api.gate.identify('expired')).toBeUndefined();
    api.answer = () => ({ ...ada, audiences: ['others'] });
    expect(await api.gate.identify('foreign')).toBeUndefined();
    api.answer = () => ({ ...ada, audiences: ['podline'] });
    expect(await api.gate.identify('good')).toBeDefined();
    expect(api.asked.map(({ spec }) => spec.audiences)).toEqual([['podline'], ['podline'], ['podline']]);
  });

  it('is asked for again after the cluster did not answer, and stands in no log and no error', async () => {
    const api = await fake();
    api.answer = () => 503;
    const refused = await Promise.resolve(api.gate.identify('a-secret')).catch((thrown: unknown) => thrown);
    expect(refused).toMatchObject({ code: 'PDL_UNREACHABLE', message: expect.stringContaining('503') });
    expect(JSON.stringify([api.logged, refused, String(refused), (refused as Error).cause])).not.toContain('a-secret');
    api.answer = ({ kind }) => (kind === 'TokenReview' ? ada : 500);
    const caller = await api.gate.identify('a-secret');
    await expect(Promise.resolve(caller?.may({ scope: 'read' }))).rejects.toMatchObject({ code: 'PDL_UNREACHABLE' });
    api.answer = () => ({ allowed: true, denied: true });
    expect(await caller?.may({ scope: 'read' })).toBe(false);
  });
});
