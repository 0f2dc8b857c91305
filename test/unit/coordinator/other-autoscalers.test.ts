import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isSigned, type SignedHeaders } from '../../../runtime/access/signature.js';
import type { Ceiling } from '../../../runtime/contracts/capacity.js';
import { PodlineError } from '../../../runtime/contracts/errors.js';
import { openCommandMessenger, openWebhookMessenger } from '../../../runtime/coordinator/other-autoscalers.js';
import { openToldAutoscaler } from '../../../runtime/coordinator/told-autoscaler.js';
import { recorder } from '../../support/api.js';
import { hearingServer } from '../../support/autoscaler.js';
import { folder } from '../../support/journal.js';
import { ManualClock } from '../../support/manual-clock.js';

const ceiling: Ceiling = {
  pipeline: 'flights',
  group: 'large',
  workload: 'flights-large',
  linesMax: 3,
  linesMin: 0,
  shardsPerLine: 16,
  because: 'because memory quota 8Gi - 2Gi used by others over 2Gi a line (ResourceQuota team-a)',
};
const { signal } = new AbortController();

describe('other autoscalers', () => {
  it('are told through a command', async () => {
    const dir = folder();
    const script = join(dir, 'tell.sh');
    writeFileSync(script, `echo "$PODLINE_WORKLOAD $PODLINE_LINES_MAX $(cat)" > ${join(dir, 'told')}\n`);
    await openCommandMessenger(['sh', script], 30_000).tell(ceiling, signal);
    expect(readFileSync(join(dir, 'told'), 'utf8')).toBe(`flights-large 3 ${JSON.stringify(ceiling)}\n`);
    await expect(openCommandMessenger(['sh', '-c', 'echo no >&2; exit 3'], 30_000).tell(ceiling, signal)).rejects.toMatchObject({
      code: 'PDL_UNREACHABLE',
      message: 'sh failed: no',
      place: 'autoscaler.command sh',
    });
  });

  it('are killed when they take longer than they may', async () => {
    const deaf = openCommandMessenger(['sh', '-c', "trap '' TERM; exec tail -f /dev/null"], 50);
    await expect(deaf.tell(ceiling, signal)).rejects.toThrow('it took longer than 50 ms');
  });

  it('are told through a webhook that they can check, only where it is allowed, and without following it elsewhere', async () => {
    const { url, heard, answer } = await hearingServer();
    const allowed = { hosts: ['127.0.0.1'], schemes: ['http' as const], privateAddresses: true };
    const of = { url, secrets: ['new shared secret', 'shared'], allowed, timeoutMs: 30_000, timestamp: () => 1_700_000_000 };
    const webhook = openWebhookMessenger(of);
    await webhook.tell(ceiling, signal);
    const [{ headers, body } = { headers: {}, body: '' }] = heard;
    expect(JSON.parse(body)).toEqual({ type: 'lines.ceiling', ...ceiling });
    for (const secret of of.secrets)
      expect(isSigned(secret, headers as unknown as SignedHeaders, body, 1_700_000_000)).toBe(true);
    expect(isSigned('another', headers as unknown as SignedHeaders, body, 1_700_000_000)).toBe(false);
    answer(503);
    await expect(webhook.tell(ceiling, signal)).rejects.toMatchObject({
      code: 'PDL_UNREACHABLE',
      place: `autoscaler.webhook ${url}`,
    });
    answer(307, { location: url });
    await expect(webhook.tell(ceiling, signal)).rejects.toMatchObject({ code: 'PDL_PLACE_FORBIDDEN' });
    expect(heard).toHaveLength(3);
    const guarded = openWebhookMessenger({ ...of, allowed: { ...allowed, privateAddresses: false } });
    await expect(guarded.tell(ceiling, signal)).rejects.toMatchObject({ code: 'PDL_PLACE_FORBIDDEN' });
    expect(heard).toHaveLength(3);
  });
});

const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

interface Deaf {
  tries: [atMs: number, workload: string, linesMax: number][];
  hears: boolean;
  clock: ManualClock;
  logged: Record<string, unknown>[];
  autoscaler: ReturnType<typeof openToldAutoscaler>;
}

function deaf(): Deaf {
  const clock = new ManualClock();
  const logged: Record<string, unknown>[] = [];
  const beganMs = clock.nowMs();
  const of: Omit<Deaf, 'autoscaler'> = { tries: [], hears: false, clock, logged };
  const autoscaler = openToldAutoscaler({
    messenger: {
      kind: 'noting',
      tell: async ({ workload, linesMax }) => {
        of.tries.push([clock.nowMs() - beganMs, workload, linesMax]);
        if (!of.hears) throw new PodlineError('PDL_UNREACHABLE', 'away', { place: 'there', hint: 'Start it.' });
      },
    },
    clock,
    logger: recorder(logged),
  });
  return Object.assign(of, { autoscaler });
}

describe('an autoscaler that does not answer', () => {
  it('is tried again later and later, then told the newest ceiling alone; other workloads do not wait for it', async () => {
    const of = deaf();
    await of.autoscaler.tell(ceiling);
    await of.clock.advance(7_000, settle);
    expect(of.tries.map(([atMs]) => atMs)).toEqual([0, 1_000, 3_000, 7_000]);
    await of.autoscaler.tell({ ...ceiling, linesMax: 5 });
    await of.autoscaler.tell({ ...ceiling, linesMax: 9 });
    await of.autoscaler.tell({ ...ceiling, workload: 'other' });
    await settle();
    expect(of.tries.slice(4)).toEqual([[7_000, 'other', 3]]);
    of.hears = true;
    await of.clock.advance(8_000, settle);
    expect(of.tries.slice(5)).toEqual([
      [8_000, 'other', 3],
      [15_000, 'flights-large', 9],
    ]);
    await of.clock.advance(3_600_000, settle);
    expect(of.tries).toHaveLength(7);
    expect(of.logged[0]).toMatchObject({
      level: 'error',
      code: 'PDL_UNREACHABLE',
      place: 'there',
      hint: 'Start it.',
      againMs: 1_000,
    });
    await of.autoscaler.close();
  });

  it('is tried no more for a workload that was left, nor after the close', async () => {
    const of = deaf();
    await of.autoscaler.tell(ceiling);
    await of.autoscaler.tell({ ...ceiling, workload: 'other' });
    await settle();
    of.autoscaler.leave?.('flights-large');
    await of.clock.advance(1_000, settle);
    expect(of.tries.at(-1)).toEqual([1_000, 'other', 3]);
    expect(of.tries).toHaveLength(3);
    await of.autoscaler.close();
    await of.clock.advance(3_600_000, settle);
    expect(of.tries).toHaveLength(3);
  });
});
