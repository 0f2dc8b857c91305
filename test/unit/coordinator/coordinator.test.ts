import { describe, expect, it, onTestFinished } from 'vitest';
import type { DriverEvent, LineDriver, SwapOrder } from '../../../runtime/contracts/driver.js';
import { PodlineError } from '../../../runtime/contracts/errors.js';
import type { PodlineEvent } from '../../../runtime/contracts/events.js';
import { limits } from '../../../runtime/contracts/limits.js';
import type { PipelineSpec } from '../../../runtime/contracts/manifest.js';
import { createCoordinator, type Coordinator, type CoordinatorOptions } from '../../../runtime/coordinator/coordinator.js';
import { openLmdbJournal } from '../../../runtime/journal/lmdb/lmdb-journal.js';
import type { Journal } from '../../../runtime/journal/journal.js';
import { createMetrics } from '../../../runtime/telemetry/metrics.js';
import { completeOf, folder, heartbeatOf, helloOf, pipelineOf, shardOf } from '../../support/journal.js';
import { ManualClock } from '../../support/manual-clock.js';

/** A driver that takes orders and remembers them. */
class NotingDriver implements LineDriver {
  readonly kind = 'noting';
  readonly orders: SwapOrder[] = [];
  readonly #listeners = new Set<(event: DriverEvent) => void>();
  refusing: PodlineError | undefined;
  stopped = 0;

  async start(): Promise<void> {
    // Nothing to bring up.
  }

  async scale(): Promise<void> {
    // Nothing to change.
  }

  async swap(order: SwapOrder): Promise<void> {
    if (this.refusing !== undefined) throw this.refusing;
    this.orders.push(order);
  }

  async stop(): Promise<void> {
    this.stopped += 1;
  }

  subscribe(listener: (event: DriverEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  say(event: DriverEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

interface Stage {
  coordinator: Coordinator;
  journal: Journal;
  clock: ManualClock;
  driver: NotingDriver;
  advance: (ms: number) => Promise<void>;
}

async function stage(
  spec: Partial<Record<keyof PipelineSpec, unknown>> = {},
  more: Partial<CoordinatorOptions> & { dir?: string } = {},
): Promise<Stage> {
  const { dir = folder(), ...options } = more;
  const journal = openLmdbJournal({ dir });
  const [clock, driver] = [new ManualClock(), new NotingDriver()];
  const coordinator = await createCoordinator({ journal, clock, driver, ...options });
  onTestFinished(async () => {
    await coordinator.close();
    await journal.close();
  });
  await coordinator.applyPipeline(pipelineOf('flights', spec));
  // A transition behind all that were begun: what a timer set off is done when it is.
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 4; turn += 1) await journal.report('nobody', [], [], { ms: 0, at: '' });
  };
  return { coordinator, journal, clock, driver, advance: (ms) => clock.advance(ms, settle) };
}

const submission = (key: string): Parameters<Coordinator['submit']>[1][number] => {
  const { resultDir: _dir, ...rest } = shardOf(key);
  return rest;
};
const submit = async (coordinator: Coordinator, ...keys: string[]): Promise<string[]> =>
  (await coordinator.submit('flights', keys.map(submission))).map((answer) => (answer.outcome === 'rejected' ? '' : answer.id));
const ask = (max = 1, waitMs = 0): Parameters<Coordinator['lease']>[1] => ({ max, waitMs, residents: [] });
const code = (expected: string): unknown => expect.objectContaining({ code: expected });
const failing = new PodlineError('PDL_STAGE_FAILED', 'no').toWire();

describe('submissions', () => {
  it('are checked against the pipeline, each for itself', async () => {
    const { coordinator } = await stage({
      parameters: { year: { type: 'integer', minimum: 2000 }, who: { type: 'string', default: 'me' } },
      result: { dir: './out' },
    });
    const answers = await coordinator.submit('flights', [
      { ...submission('good'), parameters: { year: 2024 } },
      { ...submission('small'), parameters: { year: 1999 } },
      { ...submission('missing') },
      { ...submission('misspelt'), parameters: { year: 2024, woh: 'x' } },
      { ...submission('good'), parameters: { year: 2025 } },
      { ...submission('n\0l'), parameters: { year: 2024 } },
    ]);
    expect(answers.map((answer) => (answer.outcome === 'rejected' ? answer.error.code : answer.outcome))).toEqual([
      'accepted',
      'PDL_PARAMETER_INVALID',
      'PDL_PARAMETER_INVALID',
      'PDL_PARAMETER_INVALID',
      'duplicate',
      'PDL_REQUEST_INVALID',
    ]);
    expect(answers[3]).toMatchObject({ error: { hint: 'Did you mean who?', place: 'parameters.woh' } });
    expect(answers[4]).toMatchObject({ message: expect.stringContaining('pending') });
    expect(await coordinator.getByKey('flights', 'good')).toMatchObject({
      parameters: { year: 2024, who: 'me' },
      resultDir: '/data/out',
    });
    expect(await coordinator.progress('flights')).toEqual({ pending: 1, running: 0, completed: 0, failed: 0, cancelled: 0 });
  });

  it('are refused while the queue is full, and for a pipeline that is not there, with a hint', async () => {
    const { coordinator } = await stage({}, { limits: { pendingShardsMax: 1 } });
    const answers = await coordinator.submit('flights', [submission('a'), submission('b')]);
    expect(answers[1]).toMatchObject({ outcome: 'rejected', error: { code: 'PDL_QUEUE_FULL' } });
    await expect(coordinator.submit('flihgts', [submission('a')])).rejects.toMatchObject({
      code: 'PDL_PIPELINE_UNKNOWN',
      hint: 'Did you mean flights?',
    });
  });
});

describe('leases', () => {
  it('are asked for in vain by a line that has not said hello', async () => {
    const { coordinator } = await stage();
    await expect(coordinator.lease('line-0', ask())).rejects.toEqual(code('PDL_LINE_UNKNOWN'));
    await expect(coordinator.heartbeat('line-0', heartbeatOf('a'))).rejects.toEqual(code('PDL_LINE_UNKNOWN'));
  });

  it('are shared out, so that the first to ask does not leave the others without', async () => {
    const { coordinator } = await stage();
    for (const line of ['line-0', 'line-1', 'line-2', 'line-3']) await coordinator.lineHello(line, helloOf('a'));
    await submit(coordinator, 'a', 'b', 'c', 'd');
    expect((await coordinator.lease('line-0', ask(4))).leases).toHaveLength(1);
    expect(await coordinator.lease('line-1', ask(4))).toMatchObject({ queued: 2 });
  });

  it('wait for work and get it at once, whoever waited longest first', async () => {
    const { coordinator } = await stage();
    await coordinator.lineHello('line-0', helloOf('a'));
    await coordinator.lineHello('line-1', helloOf('b'));
    const first = coordinator.lease('line-0', ask(1, 10_000));
    const second = coordinator.lease('line-1', ask(1, 10_000));
    await submit(coordinator, 'a');
    expect((await first).leases.map((lease) => lease.key)).toEqual(['a']);
    await submit(coordinator, 'b');
    expect((await second).leases.map((lease) => lease.key)).toEqual(['b']);
  });

  it('wait no longer than they say, nor after they were given up or asked anew', async () => {
    const { coordinator, advance } = await stage();
    await coordinator.lineHello('line-0', helloOf('a'));
    const late = coordinator.lease('line-0', ask(1, 500));
    await advance(500);
    expect(await late).toEqual({ leases: [], queued: 0 });
    const replaced = coordinator.lease('line-0', ask(1, 500));
    const stop = new AbortController();
    const aborted = coordinator.lease('line-0', ask(1, 10_000), stop.signal);
    await advance(0);
    expect(await replaced).toEqual({ leases: [], queued: 0 });
    stop.abort();
    expect(await aborted).toEqual({ leases: [], queued: 0 });
    const [id] = await submit(coordinator, 'a');
    expect((await coordinator.get(id ?? '')).state).toBe('pending');
  });

  it('are renewed by heartbeats, and end by silence; the shard goes to another line under the next epoch', async () => {
    const { coordinator, advance } = await stage();
    const [id = ''] = await submit(coordinator, 'a');
    await coordinator.lineHello('line-0', helloOf('a'));
    const [lease] = (await coordinator.lease('line-0', ask())).leases;
    expect(lease?.epoch).toBe(1);
    for (let beat = 0; beat < 30; beat += 1) {
      await advance(limits.heartbeatMs);
      expect(await coordinator.heartbeat('line-0', heartbeatOf('a', [{ shardId: id, epoch: 1 }]))).toMatchObject({ lost: [] });
    }
    await coordinator.lineHello('line-1', helloOf('b'));
    const other = coordinator.lease('line-1', ask(1, 60_000));
    await advance(limits.leaseTtlMs - 1);
    expect((await coordinator.get(id)).state).toBe('running');
    await advance(1);
    expect((await other).leases).toMatchObject([{ shardId: id, epoch: 2 }]);
    expect(await coordinator.heartbeat('line-0', heartbeatOf('a', [{ shardId: id, epoch: 1 }]))).toMatchObject({ lost: [id] });
    await expect(coordinator.complete('line-0', completeOf(id, 1))).rejects.toEqual(code('PDL_LEASE_LOST'));
    await coordinator.complete('line-1', completeOf(id, 2));
    await coordinator.complete('line-1', completeOf(id, 2));
    expect(await coordinator.get(id)).toMatchObject({ state: 'completed', attempts: 0 });
  });

  it('begin anew after the coordinator itself stood still', async () => {
    const { coordinator, clock, advance } = await stage();
    const [id = ''] = await submit(coordinator, 'a');
    await coordinator.lineHello('line-0', helloOf('a'));
    await coordinator.lease('line-0', ask());
    clock.stall(10 * limits.leaseTtlMs);
    await advance(0);
    expect((await coordinator.get(id)).state).toBe('running');
    expect(await coordinator.heartbeat('line-0', heartbeatOf('a', [{ shardId: id, epoch: 1 }]))).toMatchObject({ lost: [] });
  });

  it('survive a restart of the coordinator: the line keeps them if it is the same process, and is given them anew if not', async () => {
    const dir = folder();
    const first = await stage({}, { dir });
    const ids = await submit(first.coordinator, 'a', 'b');
    await first.coordinator.lineHello('line-0', helloOf('a'));
    await first.coordinator.lineHello('line-1', helloOf('b'));
    const held = [
      ...(await first.coordinator.lease('line-0', ask())).leases,
      ...(await first.coordinator.lease('line-1', ask())).leases,
    ];
    expect(held.map((lease) => lease.shardId)).toEqual(ids);
    const hash = await first.coordinator.stateHash();
    await first.coordinator.close();
    await first.journal.close();

    const journal = openLmdbJournal({ dir });
    const again = await createCoordinator({ journal, clock: new ManualClock() });
    onTestFinished(async () => {
      await again.close();
      await journal.close();
    });
    expect(await again.stateHash()).toBe(hash);
    await again.lineHello('line-0', helloOf('a'));
    await again.lineHello('line-1', helloOf('another'));
    expect(await again.heartbeat('line-0', heartbeatOf('a', [{ shardId: ids[0] ?? '', epoch: 1 }]))).toMatchObject({ lost: [] });
    expect((await again.lease('line-1', ask())).leases).toMatchObject([{ shardId: ids[1], epoch: 2 }]);
    await expect(again.heartbeat('line-1', heartbeatOf('b', []))).rejects.toEqual(code('PDL_LEASE_LOST'));
  });

  it('of lines that were not started again go back at once', async () => {
    const { coordinator } = await stage();
    const ids = await submit(coordinator, 'a', 'b');
    for (const line of ['line-0', 'line-1']) {
      await coordinator.lineHello(line, helloOf(line));
      await coordinator.lease(line, ask());
    }
    await coordinator.releaseAbsent(['line-0']);
    expect(await Promise.all(ids.map(async (id) => (await coordinator.get(id)).state))).toEqual(['running', 'pending']);
  });

  it('go back at once when the driver says that the line is gone', async () => {
    const { coordinator, driver, advance } = await stage();
    const [id = ''] = await submit(coordinator, 'a');
    await coordinator.lineHello('line-0', helloOf('a'));
    await coordinator.lease('line-0', ask());
    driver.say({ type: 'lineEnded', pipeline: 'flights', line: 'line-0', reason: 'scaled down', gone: true });
    await advance(0);
    expect((await coordinator.get(id)).state).toBe('pending');
    await expect(coordinator.line('line-0')).rejects.toEqual(code('PDL_LINE_UNKNOWN'));
  });

  it('that were lost with their answer come again with the next request, and what has arrived stays where it is', async () => {
    const { coordinator, journal } = await stage();
    const [a = '', b = '', c = ''] = await submit(coordinator, 'a', 'b', 'c');
    await coordinator.lineHello('line-0', helloOf('one'));
    const [heard] = (await coordinator.lease('line-0', ask())).leases;
    const held = [{ shardId: a, epoch: heard?.epoch ?? 0 }];
    const [lost] = (await coordinator.lease('line-0', { ...ask(), held })).leases;
    expect(lost).toMatchObject({ shardId: b, epoch: 1 });

    expect((await coordinator.lease('line-0', { ...ask(), held })).leases).toMatchObject([{ shardId: b, epoch: 2, attempts: 0 }]);
    await expect(coordinator.complete('line-0', completeOf(b, 1))).rejects.toEqual(code('PDL_LEASE_LOST'));
    expect(await journal.shard(a)).toMatchObject({ state: 'running', epoch: 1 });

    // Known by a heartbeat, though a request that is late, or says nothing of it, does not know of it.
    await coordinator.heartbeat('line-0', heartbeatOf('one', [...held, { shardId: b, epoch: 2 }]));
    expect((await coordinator.lease('line-0', { ...ask(), held })).leases).toMatchObject([{ shardId: c, epoch: 1 }]);
    expect((await coordinator.lease('line-0', ask())).leases).toEqual([]);
    expect(await coordinator.progress('flights')).toMatchObject({ running: 3, pending: 0 });
  });

  it('that were lost with their answer, and with their coordinator, come again from the next one', async () => {
    const dir = folder();
    const first = await stage({}, { dir });
    await submit(first.coordinator, 'a');
    await first.coordinator.lineHello('line-0', helloOf('one'));
    await first.coordinator.lease('line-0', ask());
    await first.coordinator.close();
    await first.journal.close();
    const second = await stage({}, { dir });
    await second.coordinator.lineHello('line-0', helloOf('one'));
    expect((await second.coordinator.lease('line-0', { ...ask(), held: [] })).leases).toMatchObject([{ epoch: 2 }]);
  });

  it('that could not be handed over are taken back without an attempt', async () => {
    const { coordinator } = await stage();
    const [id = ''] = await submit(coordinator, 'a');
    await coordinator.lineHello('line-0', helloOf('a'));
    await coordinator.takeBack('line-0', (await coordinator.lease('line-0', ask())).leases);
    expect(await coordinator.get(id)).toMatchObject({ state: 'pending', attempts: 0, epoch: 1 });
  });

  it('that come with a completion are made with it; what it completes counts as arrived, what was lost goes back', async () => {
    const { coordinator } = await stage();
    const [a = '', b = '', c = ''] = await submit(coordinator, 'a', 'b', 'c');
    await coordinator.lineHello('line-0', helloOf('a'));
    const { waitMs: _, ...next } = ask();
    await coordinator.lease('line-0', ask(2));
    // The answer with b was lost.
    expect(await coordinator.complete('line-0', completeOf(a, 1), { ...next, held: [] })).toMatchObject({
      leases: [{ shardId: b, epoch: 2 }],
      queued: 1,
    });
    await expect(coordinator.complete('line-0', completeOf(b, 1), next)).rejects.toMatchObject({ code: 'PDL_LEASE_LOST' });
    expect(await coordinator.get(c)).toMatchObject({ state: 'pending' });
    expect(await coordinator.progress('flights')).toMatchObject({ completed: 1, running: 1, pending: 1 });
  });

  it('are not given with a completion to a line that drains, or that nobody knows; the completion counts', async () => {
    const { coordinator } = await stage();
    const [a = '', b = ''] = await submit(coordinator, 'a', 'b', 'c');
    await coordinator.lineHello('line-0', helloOf('a'));
    const { waitMs: _, ...next } = ask();
    await coordinator.lease('line-0', ask(2));
    await coordinator.drainLine('line-0');
    expect(await coordinator.complete('line-0', completeOf(a, 1), next)).toEqual({ leases: [], queued: 1 });
    await coordinator.lineHello('line-0', helloOf('other'));
    expect(await coordinator.complete('line-0', completeOf(b, 1), { ...next, instance: 'a' })).toBeUndefined();
    expect(await coordinator.progress('flights')).toMatchObject({ completed: 2, running: 0, pending: 1 });
  });

  it('are not given while the line drains or the pipeline is paused, and the line is told', async () => {
    const { coordinator } = await stage();
    await submit(coordinator, 'a');
    await coordinator.lineHello('line-0', helloOf('a'));
    await coordinator.pause('flights');
    expect((await coordinator.lease('line-0', ask())).leases).toEqual([]);
    expect(await coordinator.heartbeat('line-0', heartbeatOf('a'))).toMatchObject({ paused: true, drain: false });
    const waiting = coordinator.lease('line-0', ask(1, 10_000));
    await coordinator.resume('flights');
    expect((await waiting).leases).toHaveLength(1);
    await coordinator.drainLine('line-0');
    expect(await coordinator.heartbeat('line-0', heartbeatOf('a'))).toMatchObject({ paused: false, drain: true });
    await submit(coordinator, 'b');
    expect((await coordinator.lease('line-0', ask())).leases).toEqual([]);
  });
});

describe('failures', () => {
  it('back off, wake a waiting line when the time has come, and end as a dead letter that can be retried', async () => {
    const { coordinator, advance } = await stage({ retries: { limit: 1, backoff: { initial: '4s', factor: 2, max: '60s' } } });
    const [id = ''] = await submit(coordinator, 'a');
    await coordinator.lineHello('line-0', helloOf('a'));
    await coordinator.lease('line-0', ask());
    await coordinator.fail('line-0', { shardId: id, epoch: 1, error: failing, stage: 'clean', counts: true });
    expect((await coordinator.explain(id)).because[0]).toContain('backs off until');
    const next = coordinator.lease('line-0', ask(1, 30_000));
    await advance(3_999);
    expect((await coordinator.get(id)).state).toBe('pending');
    await advance(1);
    expect((await next).leases).toMatchObject([{ epoch: 2, attempts: 1 }]);
    await coordinator.fail('line-0', { shardId: id, epoch: 2, error: failing, stage: 'clean', counts: true });
    expect(await coordinator.get(id)).toMatchObject({ state: 'failed', attempts: 2 });
    expect((await coordinator.explain(id)).because.join(' ')).toContain('PDL_STAGE_FAILED');
    expect(await coordinator.retry(id)).toMatchObject({ state: 'pending', attempts: 0 });
  });

  it('by a time limit take the lease away from the line', async () => {
    const { coordinator, advance } = await stage({ timeLimits: { running: '5s', pending: '20s' } });
    const [id = '', waits = ''] = await submit(coordinator, 'a', 'b');
    await coordinator.lineHello('line-0', helloOf('a'));
    await coordinator.lease('line-0', ask());
    await advance(5_000);
    expect(await coordinator.get(id)).toMatchObject({ state: 'failed', error: { code: 'PDL_TIME_LIMIT' } });
    expect(await coordinator.heartbeat('line-0', heartbeatOf('a', [{ shardId: id, epoch: 1 }]))).toMatchObject({ lost: [id] });
    await advance(15_000);
    expect(await coordinator.get(waits)).toMatchObject({ state: 'failed', error: { code: 'PDL_TIME_LIMIT' } });
  });

  it('by cancelling are told to the line with its next heartbeat', async () => {
    const { coordinator } = await stage();
    const [id = ''] = await submit(coordinator, 'a');
    await coordinator.lineHello('line-0', helloOf('a'));
    await coordinator.lease('line-0', ask());
    await coordinator.cancel(id);
    expect(await coordinator.heartbeat('line-0', heartbeatOf('a', [{ shardId: id, epoch: 1 }]))).toMatchObject({ lost: [id] });
  });
});

describe('swaps', () => {
  it('that the driver took and could not carry out are told to the line until it orders another step', async () => {
    const { coordinator, driver } = await stage();
    await coordinator.lineHello('line-0', helloOf('one'));
    const told = async (): Promise<unknown> => (await coordinator.heartbeat('line-0', heartbeatOf('one'))).failedSwaps;
    const fail = (step: string): void => {
      const error = new PodlineError('PDL_SWAP_FAILED', 'ErrImagePull').toWire();
      driver.say({ type: 'swapFailed', pipeline: 'flights', line: 'line-0', slot: 1, step, error });
    };
    await coordinator.requestSwap('line-0', { slot: 1, stage: 'clean', step: 's1' });
    expect(await told()).toEqual([]);
    fail('s1');
    const failure = {
      slot: 1,
      step: 's1',
      error: expect.objectContaining({ code: 'PDL_SWAP_FAILED', message: 'ErrImagePull' }) as unknown,
    };
    expect(await told()).toEqual([failure]);
    expect(await told()).toEqual([failure]);
    await coordinator.requestSwap('line-0', { slot: 1, stage: 'clean', step: 's2' });
    fail('s1');
    expect(await told()).toEqual([]);
  });

  it('are ordered once per step, and again when the driver refused', async () => {
    const { coordinator, driver } = await stage();
    await coordinator.lineHello('line-0', helloOf('a'));
    driver.refusing = new PodlineError('PDL_SWAP_FAILED', 'no room');
    await expect(coordinator.requestSwap('line-0', { slot: 1, stage: 'clean', step: 's1' })).rejects.toEqual(
      code('PDL_SWAP_FAILED'),
    );
    driver.refusing = undefined;
    await coordinator.requestSwap('line-0', { slot: 1, stage: 'clean', step: 's1' });
    await coordinator.requestSwap('line-0', { slot: 1, stage: 'clean', step: 's1' });
    await coordinator.requestSwap('line-0', { slot: 1, stage: 'score', step: 's2' });
    expect(driver.orders.map((order) => [order.line, order.slot, order.stage, order.step])).toEqual([
      ['line-0', 1, 'clean', 's1'],
      ['line-0', 1, 'score', 's2'],
    ]);
  });

  it('that could not be carried out are told to the line until it orders another', async () => {
    const { coordinator, driver } = await stage();
    await coordinator.lineHello('line-0', helloOf('a'));
    await coordinator.requestSwap('line-0', { slot: 1, stage: 'clean', step: 's1' });
    const error = new PodlineError('PDL_SWAP_FAILED', 'the image is not there').toWire();
    driver.say({ type: 'swapFailed', pipeline: 'flights', line: 'line-0', slot: 1, step: 'old', error });
    expect((await coordinator.heartbeat('line-0', heartbeatOf('a'))).failedSwaps).toEqual([]);
    driver.say({ type: 'swapFailed', pipeline: 'flights', line: 'line-0', slot: 1, step: 's1', error });
    expect((await coordinator.heartbeat('line-0', heartbeatOf('a'))).failedSwaps).toEqual([{ slot: 1, step: 's1', error }]);
    await coordinator.requestSwap('line-0', { slot: 1, stage: 'clean', step: 's2' });
    expect((await coordinator.heartbeat('line-0', heartbeatOf('a'))).failedSwaps).toEqual([]);
  });

  it('are refused for slots and stages that are not there', async () => {
    const { coordinator } = await stage();
    await coordinator.lineHello('line-0', helloOf('a'));
    await expect(coordinator.requestSwap('line-0', { slot: 2, stage: 'clean', step: 's' })).rejects.toMatchObject({
      code: 'PDL_REQUEST_INVALID',
      place: 'slot',
    });
    await expect(coordinator.requestSwap('line-0', { slot: 0, stage: 'rm', step: 's' })).rejects.toMatchObject({
      code: 'PDL_REQUEST_INVALID',
      place: 'stage',
    });
  });
});

describe('what there is to see', () => {
  it('names each line with the shards that it holds and where they stand', async () => {
    const { coordinator, advance } = await stage();
    const [id = ''] = await submit(coordinator, 'a');
    await coordinator.lineHello('line-0', helloOf('x'));
    await coordinator.lease('line-0', ask());
    const beat = heartbeatOf('x', [{ shardId: id, epoch: 1, stagesDone: ['clean'] }], { waiting: 'it swaps' });
    await coordinator.heartbeat('line-0', beat);
    expect(await coordinator.line('line-0')).toMatchObject({
      line: 'line-0',
      node: 'here',
      state: 'active',
      shards: [{ shardId: id, epoch: 1, stagesDone: ['clean'] }],
      waiting: 'it swaps',
    });
    expect((await coordinator.get(id)).stagesDone).toEqual(['clean']);
    expect((await coordinator.explain(id)).because.join(' ')).toContain('Done: clean.');
    await advance(limits.leaseTtlMs);
    expect((await coordinator.line('line-0')).state).toBe('silent');
    expect((await coordinator.pipeline('flights')).lines).toBe(0);
    expect((await coordinator.explain(id)).advice).toContain('Start a line');
  });

  it('is not called like a line of another pipeline: who comes second is refused, also at once', async () => {
    const { coordinator } = await stage();
    const grouped = pipelineOf('flights', { groups: [{ name: 'large', match: { key: 'large/*' } }] });
    const [first, second] = await Promise.allSettled([
      coordinator.applyPipeline(pipelineOf('flights-large')),
      coordinator.applyPipeline(grouped),
    ]);
    expect(first.status).toBe('fulfilled');
    expect(second).toMatchObject({
      reason: {
        code: 'PDL_MANIFEST_INVALID',
        place: 'spec.groups[0].name',
        hint: expect.stringContaining('delete pipeline flights-large') as string,
      },
    });
    expect((await coordinator.pipeline('flights')).revision).toBe(1);
  });

  it('sends a newer revision of the pipeline with the next heartbeat, until the line works by it', async () => {
    const { coordinator } = await stage();
    await coordinator.lineHello('line-0', helloOf('x'));
    expect((await coordinator.heartbeat('line-0', heartbeatOf('x', [], { revision: 1 }))).pipeline).toBeUndefined();
    await coordinator.applyPipeline(pipelineOf('flights', { description: 'newer' }));
    for (let lost = 0; lost < 2; lost += 1)
      expect((await coordinator.heartbeat('line-0', heartbeatOf('x', [], { revision: 1 }))).pipeline).toMatchObject({
        revision: 2,
      });
    expect((await coordinator.heartbeat('line-0', heartbeatOf('x', [], { revision: 2 }))).pipeline).toBeUndefined();
  });

  it('is leased with the revision that it is to be worked on by, to a line that knows an older one', async () => {
    const { coordinator } = await stage();
    await coordinator.lineHello('line-0', helloOf('x'));
    await submit(coordinator, 'a');
    expect(await coordinator.lease('line-0', ask())).not.toHaveProperty('pipeline');
    const waiting = coordinator.lease('line-0', ask(1, 10_000));
    await coordinator.applyPipeline(pipelineOf('flights', { description: 'newer' }));
    await submit(coordinator, 'b');
    expect(await waiting).toMatchObject({ leases: [{ key: 'b' }], pipeline: { revision: 2 } });
    await coordinator.heartbeat('line-0', heartbeatOf('x', [], { revision: 2 }));
    await submit(coordinator, 'c');
    expect(await coordinator.lease('line-0', ask())).not.toHaveProperty('pipeline');
  });

  it('is told as events: those of the lines too, each once, from where a reader stands', async () => {
    const { coordinator } = await stage();
    const [id = ''] = await submit(coordinator, 'a');
    await coordinator.lineHello('line-0', helloOf('x'));
    await coordinator.lease('line-0', ask());
    await coordinator.heartbeat(
      'line-0',
      heartbeatOf('x', [], {
        events: [
          { type: 'stage.completed', shardId: id, data: { stage: 'clean' } },
          { type: 'made.up', data: {} },
        ],
      }),
    );
    await coordinator.complete('line-0', completeOf(id, 1));
    const read = async (after: number, most: number): Promise<PodlineEvent[]> => {
      const stop = new AbortController();
      const events: PodlineEvent[] = [];
      for await (const event of coordinator.events({ after, shardId: id, signal: stop.signal })) {
        events.push(event);
        if (events.length === most) stop.abort();
      }
      return events;
    };
    const all = await read(0, 4);
    expect(all.map((event) => event.type)).toEqual(['shard.submitted', 'shard.leased', 'stage.completed', 'shard.completed']);
    expect(await read(all[1]?.id ?? 0, 2)).toEqual(all.slice(2));
  });

  it('bounds the number of event streams', async () => {
    const { coordinator } = await stage({}, { limits: { eventStreamsMax: 1 } });
    const stop = new AbortController();
    const first = coordinator.events({ signal: stop.signal });
    const pending = first.next();
    await expect(coordinator.events().next()).rejects.toEqual(code('PDL_QUEUE_FULL'));
    stop.abort();
    expect(await pending).toEqual({ done: true, value: undefined });
    await coordinator.close();
    expect((await coordinator.events().next()).done).toBe(true);
  });

  it('is counted from zero, so that the first of a kind is an increase', async () => {
    const metrics = createMetrics();
    onTestFinished(() => {
      metrics.close();
    });
    const { coordinator } = await stage({}, { metrics });
    const before = (await metrics.text()).split('\n');
    for (const counted of [
      'podline_events_total{pipeline="flights",type="line.lost"} 0',
      'podline_shards_submitted_total{pipeline="flights"} 0',
      'podline_shards_ended_total{pipeline="flights",state="failed"} 0',
      'podline_shard_retries_total{pipeline="flights",counted="true"} 0',
    ])
      expect(before).toContain(counted);
    await submit(coordinator, 'a');
    expect(await metrics.text()).toContain('podline_shards_submitted_total{pipeline="flights"} 1');
    await coordinator.deletePipeline('flights', { cancel: true });
    expect(await metrics.text()).not.toContain('pipeline="flights"');
  });

  it('is counted: by state, by stage, by medium', async () => {
    const metrics = createMetrics();
    onTestFinished(() => {
      metrics.close();
    });
    const { coordinator } = await stage({}, { metrics });
    const [id = ''] = await submit(coordinator, 'a', 'b');
    await coordinator.lineHello('line-0', helloOf('x'));
    await coordinator.lease('line-0', ask());
    await coordinator.complete('line-0', completeOf(id, 1));
    await coordinator.complete('line-0', completeOf(id, 1));
    const text = await metrics.text();
    for (const line of [
      'podline_shards{pipeline="flights",state="pending"} 1',
      'podline_shards{pipeline="flights",state="completed"} 1',
      'podline_shards_ended_total{pipeline="flights",state="completed"} 1',
      'podline_stage_runs_total{pipeline="flights",stage="clean",outcome="ran"} 1',
      'podline_stage_run_seconds_sum{pipeline="flights",stage="clean"} 0.02',
      'podline_bytes_total{pipeline="flights",medium="ssd",direction="written"} 700',
      'podline_lines{pipeline="flights"} 1',
    ]) {
      expect(text.split('\n')).toContain(line);
    }
  });
});
