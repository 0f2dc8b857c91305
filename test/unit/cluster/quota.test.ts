import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  lineCostOf,
  quotasOf,
  usedByPods,
  type LimitRange,
  type PodSpec,
  type ResourceQuota,
} from '../../../runtime/cluster/quota-plan.js';
import { openQuotaWatch, type KubeReader } from '../../../runtime/cluster/quota-watch.js';
import { formatAmount } from '../../../runtime/line/quantity.js';
import { planLinesMax } from '../../../runtime/line/quota.js';
import { systemClock } from '../../../runtime/platform/clock.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { pipelineOf } from '../../support/journal.js';

const pod: PodSpec = {
  containers: [
    { name: 'agent', resources: { requests: { memory: '1Gi', cpu: '250m' }, limits: { memory: '1Gi' } } },
    { name: 'slot-0', resources: { requests: { memory: '1Gi', cpu: '250m', 'nvidia.com/gpu': 1 }, limits: { memory: '2Gi' } } },
  ],
};
const quota = (
  hard: Record<string, string>,
  used: Record<string, string> = {},
  more: Partial<ResourceQuota['spec']> = {},
): ResourceQuota => ({
  metadata: { name: 'team-a' },
  spec: { hard, ...more },
  status: { hard, used },
});
const range = (limit: Partial<LimitRange['spec']['limits'][number]>): LimitRange => ({
  metadata: { name: 'small' },
  spec: { limits: [{ type: 'Container', ...limit }] },
});
const linesMax = (
  quotas: ResourceQuota[],
  ranges: LimitRange[] = [],
  pods: PodSpec[] = [],
  of = pod,
): { linesMax: number; because: string } => {
  const { perLine, refusals } = lineCostOf(of, ranges, quotas);
  return planLinesMax({ perLine, refusals, quotas: quotasOf(quotas, of, usedByPods(pods, ranges)) });
};

describe('W_max from a ResourceQuota', () => {
  it.each([
    [{ 'requests.memory': '8Gi' }, {}, 4],
    [{ memory: '8Gi' }, { memory: '3Gi' }, 2],
    [{ 'limits.memory': '8Gi' }, {}, 2],
    [{ cpu: '1' }, { cpu: '400m' }, 1],
    [{ pods: '7' }, { pods: '2' }, 5],
    [{ 'requests.nvidia.com/gpu': '3' }, {}, 3],
    [{ configmaps: '1' }, {}, 16_384],
  ])('%j with %j in use allows %i lines', (hard, used, lines) => {
    expect(linesMax([quota(hard as Record<string, string>, used as Record<string, string>)]).linesMax).toBe(lines);
  });

  it('does not count our own pods as others', () => {
    const quotas = [quota({ 'requests.memory': '8Gi' }, { 'requests.memory': '6Gi' })];
    expect(linesMax(quotas, [], [pod, pod])).toMatchObject({
      linesMax: 3,
      because: 'because requests.memory quota 8Gi - 2Gi used by others over 2Gi a line (ResourceQuota team-a)',
    });
  });

  it('passes over quotas of other kinds of pods', () => {
    expect(linesMax([quota({ pods: '0' }, {}, { scopes: ['Terminating'] })]).linesMax).toBe(16_384);
    expect(linesMax([quota({ pods: '0' }, {}, { scopes: ['NotTerminating'] })]).linesMax).toBe(0);
    const high = { scopeSelector: { matchExpressions: [{ scopeName: 'PriorityClass', operator: 'In', values: ['high'] }] } };
    expect(linesMax([quota({ pods: '0' }, {}, high)]).linesMax).toBe(16_384);
    expect(linesMax([quota({ pods: '0' }, {}, high)], [], [], { ...pod, priorityClassName: 'high' }).linesMax).toBe(0);
  });
});

describe('a LimitRange', () => {
  const silent: PodSpec = { containers: [{ name: 'agent' }, { name: 'slot-0', resources: { limits: { memory: '1Gi' } } }] };

  it('gives requests and limits to containers that say nothing', () => {
    const { perLine } = lineCostOf(
      silent,
      [range({ default: { memory: '512Mi', cpu: '1' }, defaultRequest: { cpu: '100m' } })],
      [],
    );
    expect([
      formatAmount('memory', perLine['requests.memory'] ?? 0n),
      formatAmount('memory', perLine['limits.memory'] ?? 0n),
    ]).toEqual(['1536Mi', '1536Mi']);
    expect(formatAmount('cpu', perLine['requests.cpu'] ?? 0n)).toBe('200m');
  });

  it('allows no line where it would refuse its pod, and is named', () => {
    expect(linesMax([], [range({ max: { memory: '1Gi' } })])).toMatchObject({
      linesMax: 0,
      because: "because LimitRange small allows a container at most 1Gi of memory, and a line's has 2Gi",
    });
    expect(linesMax([], [range({ type: 'Pod', min: { cpu: '1' } })]).because).toContain('at least 1 of cpu');
  });

  it('lacking, a quota on what a container does not say refuses the pod', () => {
    const quotas = [quota({ 'requests.cpu': '4' })];
    expect(linesMax(quotas, [], [], silent)).toMatchObject({
      linesMax: 0,
      because: 'because ResourceQuota team-a counts requests.cpu, and the container agent of a line does not say it',
    });
    expect(linesMax(quotas, [range({ defaultRequest: { cpu: '500m' } })], [], silent).linesMax).toBe(4);
  });
});

describe('the quotas of a namespace', () => {
  it('are followed as they change, over HTTP', async () => {
    const objects: Record<string, unknown[]> = {
      resourcequotas: [quota({ 'requests.memory': '8Gi' })],
      limitranges: [],
      pods: [{ spec: pod }],
    };
    const watching: ServerResponse[] = [];
    const server = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://localhost');
      const kind = url.pathname.split('/').at(-1) ?? '';
      if (url.searchParams.has('watch')) {
        response.writeHead(200).flushHeaders();
        if (kind === 'resourcequotas') watching.push(response);
        return;
      }
      response.end(JSON.stringify({ items: objects[kind] }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const origin = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
    const rest: KubeReader = {
      request: async (_, path, { signal } = {}) =>
        (await (await fetch(`${origin}${path}`, signal === undefined ? {} : { signal })).json()) as never,
      watch: async (path, { signal, onEvent }) => {
        const response = await fetch(`${origin}${path}?watch=true`, signal === undefined ? {} : { signal });
        for await (const _ of response.body ?? []) onEvent({ type: 'MODIFIED' });
      },
    };
    const watch = await openQuotaWatch({ rest, namespace: 'team', podOf: () => pod, clock: systemClock, logger: silentLogger });
    onTestFinished(async () => {
      await watch.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
    const lines = (): number => planLinesMax({ ...watch.costOf(pipelineOf()), quotas: watch.quotas() }).linesMax;
    expect(lines()).toBe(4);
    for (const [hard, others, expected] of [
      ['6Gi', '0', 3],
      ['20Gi', '1Gi', 9],
      ['0', '0', 0],
    ] as const) {
      const heard = new Promise<void>((resolve) => {
        const end = watch.subscribe(() => {
          end();
          resolve();
        });
      });
      await expect.poll(() => watching.length).toBeGreaterThan(0);
      objects['resourcequotas'] = [quota({ 'requests.memory': hard }, { 'requests.memory': others === '0' ? '2Gi' : '3Gi' })];
      watching[0]?.write('{"type":"MODIFIED"}\n');
      await heard;
      expect(lines()).toBe(expected);
    }
  });
});
