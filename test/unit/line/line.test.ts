import { describe, expect, it } from 'vitest';
import { limits } from '../../../runtime/contracts/limits.js';
import { explainShard } from '../../../runtime/line/explain.js';
import { chainOf, diamondOf, pipelineOf, stage } from '../../simulation/pipelines.js';
import { errorOf, Heart, leaseOf, only } from '../../support/heart.js';

const chain = (length: number) => pipelineOf(chainOf(length));

/** A shard loaded and its first stages warm. */
function working(pipeline = chain(3), config: ConstructorParameters<typeof Heart>[1] = {}): Heart {
  const heart = new Heart(pipeline, config);
  heart.tell({ type: 'tick' });
  heart.lease('a');
  heart.loaded('a');
  heart.warm();
  return heart;
}

describe('taking shards in', () => {
  it('asks for one shard and waits for it while there is nothing to do', () => {
    expect(new Heart(chain(2)).tell({ type: 'tick' })).toEqual([{ type: 'lease', max: 1, wait: true }]);
  });

  it('asks for more without waiting once it knows what a shard needs, as far as memory and places go', () => {
    const heart = new Heart(chain(2), { residentsMax: 8, scratchBytesMax: 50 });
    heart.tell({ type: 'tick' });
    expect(only(heart.lease('a', { needBytes: 10 }), 'lease')).toEqual([{ type: 'lease', max: 4, wait: false }]);
    const other = new Heart(chain(2), { residentsMax: 3, scratchBytesMax: 1_000 });
    other.tell({ type: 'tick' });
    expect(only(other.lease('a'), 'lease')[0]?.max).toBe(2);
  });

  it('loads a shard that is larger than the scratch when it is alone, and lets others wait for room', () => {
    const heart = new Heart(chain(2), { scratchBytesMax: 50 });
    heart.tell({ type: 'tick' });
    const effects = heart.tell({
      type: 'leased',
      queued: 0,
      leases: ['a', 'b'].map((id) => ({ lease: leaseOf(id), needBytes: 100 })),
    });
    expect(only(effects, 'load').map((load) => load.shardId)).toEqual(['a']);
    heart.tell({ type: 'leaseLost', shardId: 'a', reason: 'test' });
    expect(only(heart.effects, 'load').map((load) => load.shardId)).toEqual(['a', 'b']);
  });

  it('asks for no more when the first stage has left its slot, until all are through', () => {
    const heart = working(chain(4), { residentsMax: 2 });
    heart.tell({ type: 'leaseRequestEnded', queued: 9 });
    heart.commit('s0');
    heart.warm();
    heart.commit('s1');
    expect(heart.slotOf('s0')).toBe(-1);
    expect(only(heart.tick(limits.leaseAgainMs), 'lease')).toEqual([]);
  });

  it('takes nothing new while paused or drained', () => {
    const heart = new Heart(chain(2));
    expect(heart.tell({ type: 'paused', paused: true })).toEqual([]);
    expect(only(heart.tell({ type: 'paused', paused: false }), 'lease')).toHaveLength(1);
    const drained = new Heart(chain(2));
    expect(drained.tell({ type: 'drain' })).toEqual([]);
  });

  it('goes on under a new epoch when a shard that it holds is leased to it again', () => {
    const heart = working();
    expect(only(heart.lease('a', { epoch: 2 }), 'load')).toEqual([]);
    expect(heart.state.residents.get('a')?.lease.epoch).toBe(2);
    heart.tell({ type: 'leaseLost', shardId: 'a', reason: 'late', epoch: 1 });
    expect(heart.state.residents.get('a')?.phase).toBe('stages');
  });

  it('runs a stage again whose run was fenced by the new epoch, and the shard does not fail for it', () => {
    const heart = working(pipelineOf([stage('only', ['input'], { retries: 2 })]), { slots: 1 });
    heart.lease('a', { epoch: 2 });
    expect(only(heart.fail('only', 'PDL_RUN_FENCED'), 'fail')).toEqual([]);
    heart.tick(1_000);
    heart.commit('only');
    expect(heart.state.residents.get('a')?.phase).toBe('delivering');
  });
});

describe('walking a shard through its stages', () => {
  it('puts the next stage into a slot while the present one works, and hands over at once', () => {
    const heart = working();
    expect(heart.state.slots.map((slot) => slot.phase)).toEqual(['running', 'idle']);
    const effects = heart.commit('s0');
    expect(effects.map((effect) => effect.type)).toEqual(['stageDone', 'release', 'start', 'swap']);
    expect(only(effects, 'start')[0]).toMatchObject({ stage: 's1', attempt: 1, shardId: 'a' });
    expect(only(effects, 'swap')[0]).toMatchObject({ stage: 's2', replaces: 's0' });
  });

  it('delivers when all is done, completes when delivered, frees when the coordinator knows', () => {
    const heart = working(chain(1));
    expect(only(heart.commit('s0'), 'deliver')).toHaveLength(1);
    expect(only(heart.tell({ type: 'delivered', shardId: 'a' }), 'complete')).toHaveLength(1);
    expect(only(heart.tell({ type: 'ended', shardId: 'a', epoch: 1 }), 'free')).toHaveLength(1);
    expect(heart.state.residents.size).toBe(0);
  });

  it('runs the arms of a diamond side by side, and only as many as there are cores', () => {
    const run = (cores: number): number => {
      const heart = working(pipelineOf(diamondOf(3)), { slots: 5, cores });
      heart.warm();
      heart.commit('split');
      return heart.state.slots.filter((slot) => slot.phase === 'running').length;
    };
    expect(run(3)).toBe(3);
    expect(run(2)).toBe(2);
  });

  it('runs io-bound stages beyond the cores', () => {
    const heart = working(pipelineOf(diamondOf(4, { bound: 'io' })), { slots: 6, cores: 1 });
    heart.commit('split');
    expect(heart.state.slots.filter((slot) => slot.phase === 'running')).toHaveLength(4);
  });

  it('releases a stream when its last reader is done, and never a result', () => {
    const heart = working(pipelineOf(diamondOf(2), ['arm0', 'join']), { slots: 4 });
    heart.commit('split');
    expect(only(heart.commit('arm0'), 'release')).toEqual([]);
    expect(only(heart.commit('arm1'), 'release').map((release) => release.stream)).toEqual(['split']);
    expect(only(heart.commit('join'), 'release').map((release) => release.stream)).toEqual(['arm1']);
  });

  it('does not run what is there, nor what only that was made from', () => {
    const heart = new Heart(chain(4));
    heart.tell({ type: 'tick' });
    heart.lease('a', { epoch: 2 });
    heart.loaded('a', 's1');
    expect(
      [...(heart.state.residents.get('a')?.stages ?? [])].map(([, at]) => (at.phase === 'done' ? at.how : at.phase)),
    ).toEqual(['skipped', 'restored', 'ready', 'waiting']);
    expect(only(heart.effects, 'swap').map((swap) => swap.stage)).toEqual(['s2', 's3']);
  });

  it('runs a stage again, and what follows it, when the lease says so', () => {
    const heart = new Heart(chain(3));
    heart.tell({ type: 'tick' });
    heart.lease('a', { epoch: 2, resumeFrom: 's1' });
    heart.loaded('a', 's0', 's1', 's2');
    expect([...(heart.state.residents.get('a')?.stages ?? [])].map(([, at]) => at.phase)).toEqual(['done', 'ready', 'waiting']);
  });
});

describe('stages that fail', () => {
  it('are tried again after a back-off that grows, then fail their shard and no other', () => {
    const heart = working(pipelineOf([stage('only', ['input'], { retries: 2 })]), { slots: 2 });
    heart.lease('b');
    heart.loaded('b');
    heart.warm();
    for (const [attempt, waitMs] of [
      [2, 100],
      [3, 200],
    ] as const) {
      const { runId, slot } = heart.runOf('only', 'a');
      heart.tell({ type: 'runFailed', slot, runId, error: errorOf('PDL_STAGE_FAILED') });
      expect(heart.state.residents.get('a')?.stages.get('only')).toMatchObject({
        phase: 'ready',
        attempt,
        notBeforeMs: heart.nowMs + waitMs,
      });
      heart.tick(waitMs);
    }
    const { runId, slot } = heart.runOf('only', 'a');
    const effects = heart.tell({ type: 'runFailed', slot, runId, error: errorOf('PDL_STAGE_FAILED') });
    expect(only(effects, 'fail')).toMatchObject([{ shardId: 'a', stage: 'only', counts: true }]);
    expect(heart.state.residents.get('b')?.phase).toBe('stages');
  });

  it('fail their shard at once when the same input would fail again, and cancel what else of it runs', () => {
    const heart = working(pipelineOf(diamondOf(2)), { slots: 4 });
    heart.commit('split');
    const effects = heart.fail('arm0', 'PDL_STAGE_OUTPUT');
    expect(only(effects, 'fail')).toHaveLength(1);
    expect(only(effects, 'cancelRun')).toMatchObject([{ kill: false }]);
    expect(only(heart.tell({ type: 'ended', shardId: 'a' }), 'free')).toEqual([]);
    expect(only(heart.fail('arm1'), 'free')).toHaveLength(1);
  });

  it('are killed at their time limit and tried again when their container is back', () => {
    const heart = working(pipelineOf([stage('slow', ['input'], { timeoutMs: 5_000 })]));
    expect(only(heart.effects, 'wakeAt').at(-1)?.atMs).toBeLessThanOrEqual(5_000);
    expect(only(heart.tick(5_000), 'cancelRun')).toMatchObject([{ kill: true }]);
    expect(heart.state.residents.get('a')?.stages.get('slow')).toMatchObject({
      phase: 'ready',
      attempt: 2,
      error: { code: 'PDL_STAGE_TIMEOUT' },
    });
    const lost = heart.state.slots[0];
    if (lost?.phase !== 'lost') throw new Error('the slot should be lost');
    heart.tell({ type: 'slotHello', slot: 0, stage: 'slow', step: lost.step });
    heart.tell({ type: 'slotReady', slot: 0, step: lost.step });
    expect(only(heart.tick(100), 'start')).toMatchObject([{ attempt: 2 }]);
  });

  it('are killed when they do not end although they were cancelled', () => {
    const heart = working(chain(1));
    expect(only(heart.tell({ type: 'leaseLost', shardId: 'a', reason: 'test' }), 'cancelRun')).toMatchObject([{ kill: false }]);
    const effects = heart.tick(limits.terminationGraceMs);
    expect(effects.map((effect) => effect.type).slice(0, 2)).toEqual(['cancelRun', 'free']);
  });

  it('lets deliveries be tried again, and the shard fail after the last', () => {
    const heart = working(chain(1));
    heart.commit('s0');
    for (let tries = 1; tries < limits.deliverTriesMax; tries += 1) {
      expect(only(heart.tell({ type: 'deliverFailed', shardId: 'a', error: errorOf('PDL_RESULT_DIR') }), 'fail')).toEqual([]);
      expect(only(heart.tick(1_000), 'deliver')).toHaveLength(1);
    }
    expect(only(heart.tell({ type: 'deliverFailed', shardId: 'a', error: errorOf('PDL_RESULT_DIR') }), 'fail')).toHaveLength(1);
  });
});

describe('slots that fail', () => {
  it('count the end of a container as a failure of its run, and wait for the same step to say hello', () => {
    const heart = working();
    const { slot } = heart.runOf('s0');
    const { step } = heart.state.slots[slot] as { step: string };
    heart.tell({ type: 'slotLost', slot, error: errorOf('PDL_STAGE_DIED') });
    expect(heart.state.slots[slot]).toMatchObject({ phase: 'lost', step });
    expect(heart.state.residents.get('a')?.stages.get('s0')).toMatchObject({ phase: 'ready', attempt: 2 });
    heart.tell({ type: 'slotHello', slot, stage: 's0', step: 'another' });
    expect(heart.state.slots[slot]?.phase).toBe('lost');
    heart.tell({ type: 'slotHello', slot, stage: 's0', step });
    heart.tell({ type: 'slotReady', slot, step });
    expect(only(heart.tick(100), 'start')).toMatchObject([{ slot, stage: 's0', attempt: 2 }]);
  });

  it('are swapped anew when nothing is heard of them', () => {
    const heart = new Heart(chain(1));
    heart.tell({ type: 'tick' });
    heart.lease('a');
    heart.loaded('a');
    const before = heart.state.slots[0];
    heart.tick(limits.swapTimeoutMs);
    expect(only(heart.tick(100), 'swap')).toHaveLength(1);
    expect(heart.state.slots[0]).toMatchObject({ phase: 'swapping', tries: 1 });
    expect((heart.state.slots[0] as { step: string }).step).not.toBe((before as { step: string }).step);
  });

  it('are asked for anew at once when the driver says that a lost one will not be back soon', () => {
    const heart = new Heart(chain(1));
    heart.tell({ type: 'tick' });
    heart.lease('a');
    heart.loaded('a');
    heart.warm();
    const { slot } = heart.runOf('s0');
    const { step } = heart.state.slots[slot] as { step: string };
    heart.tell({ type: 'slotLost', slot, error: errorOf('PDL_STAGE_DIED') });
    heart.tick(1_000);
    const failed = { type: 'swapFailed', slot, step, error: errorOf('PDL_SWAP_FAILED') } as const;
    expect(only(heart.tell(failed), 'swap')).toMatchObject([{ slot, stage: 's0' }]);
    expect(only(heart.tell(failed), 'swap')).toEqual([]);
    expect(heart.count('fail')).toBe(0);
  });

  it('stay when a failure is told that their hello has overtaken', () => {
    const heart = new Heart(chain(1));
    heart.tell({ type: 'tick' });
    heart.lease('a');
    heart.loaded('a');
    const slot = heart.state.slots.findIndex((at) => at.phase === 'swapping');
    const { step } = heart.state.slots[slot] as { step: string };
    heart.tell({ type: 'slotHello', slot, stage: 's0', step });
    heart.tell({ type: 'swapFailed', slot, step, error: errorOf('PDL_SWAP_FAILED') });
    expect(only(heart.tell({ type: 'slotReady', slot, step }), 'start')).toMatchObject([{ slot, stage: 's0' }]);
  });

  it('let the waiting shard fail after the last try, with the reason', () => {
    const heart = new Heart(chain(1));
    heart.tell({ type: 'tick' });
    heart.lease('a');
    heart.loaded('a');
    for (let tries = 0; tries < limits.swapTriesMax; tries += 1) {
      const slot = heart.state.slots.findIndex((at) => at.phase === 'swapping');
      heart.tell({
        type: 'swapFailed',
        slot,
        step: (heart.state.slots[slot] as { step: string }).step,
        error: errorOf('PDL_SWAP_FAILED'),
      });
      heart.tick(1_000);
    }
    expect(only(heart.effects, 'fail')).toMatchObject([{ shardId: 'a', stage: 's0', error: { code: 'PDL_SWAP_FAILED' } }]);
    expect(heart.count('swap')).toBe(limits.swapTriesMax);
  });

  it('are ordered for as long as nobody takes the order: that is no failure of the stage', () => {
    const heart = new Heart(chain(1));
    heart.tell({ type: 'tick' });
    heart.lease('a');
    heart.loaded('a');
    for (const code of ['PDL_SWAP_NOT_TAKEN', 'PDL_UNREACHABLE'] as const)
      for (let orders = 0; orders < limits.swapTriesMax; orders += 1) {
        const slot = heart.state.slots.findIndex((at) => at.phase === 'swapping');
        const { step } = heart.state.slots[slot] as { step: string };
        heart.tell({ type: 'swapFailed', slot, step, error: errorOf(code) });
        expect(explainShard(heart.state, 'a', heart.nowMs)?.summary).toContain('the order for a swap was not taken');
        heart.tick(1_000);
      }
    expect(heart.count('fail')).toBe(0);
    heart.warm();
    expect(heart.count('start')).toBe(1);
  });

  it('let it fail at once when the stage can never be loaded', () => {
    const heart = new Heart(chain(1));
    heart.tell({ type: 'tick' });
    heart.lease('a');
    heart.loaded('a');
    const at = heart.state.slots[0] as { step: string };
    heart.tell({ type: 'slotHello', slot: 0, stage: 's0', step: at.step });
    expect(
      only(heart.tell({ type: 'slotUnusable', slot: 0, step: at.step, error: errorOf('PDL_STAGE_LOAD') }), 'fail'),
    ).toHaveLength(1);
  });

  it('are taken over by a new agent when they hold the stage in its present version', () => {
    const heart = new Heart(chain(1));
    heart.tell({ type: 'slotHello', slot: 0, stage: 's0', step: 'line-z-s4-version-of-s' });
    expect(heart.state.slots[0]).toMatchObject({ phase: 'swapping', stage: 's0', loading: true });
    heart.tell({ type: 'slotHello', slot: 1, stage: 's0', step: 'line-z-s5-other' });
    expect(heart.state.slots[1]?.phase).toBe('empty');
  });
});

describe('draining', () => {
  it('lets what runs go on, and gives it back at the deadline without counting it', () => {
    const heart = working();
    expect(only(heart.tell({ type: 'drain', deadlineMs: 5_000 }), 'fail')).toEqual([]);
    const effects = heart.tick(5_000);
    expect(only(effects, 'fail')).toMatchObject([{ shardId: 'a', counts: false, error: { code: 'PDL_LINE_DRAINED' } }]);
    expect(only(effects, 'cancelRun')).toHaveLength(1);
  });
});

describe('a new revision', () => {
  const more = (...stages: Parameters<typeof pipelineOf>[0]) => pipelineOf(stages, undefined, 2);

  it('lets a stage that was appended run on the shards that are there', () => {
    const heart = working(chain(2));
    heart.commit('s0');
    const known = new Map([['a', [{ stream: 's0', sealed: true }]]]);
    heart.tell({ type: 'revised', pipeline: more(...chainOf(2), stage('extra', ['s1'])), known });
    expect(only(heart.effects, 'cancelRun')).toEqual([]);
    expect(only(heart.commit('s1'), 'deliver')).toEqual([]);
    heart.warm();
    expect(only(heart.commit('extra'), 'deliver')).toHaveLength(1);
  });

  it('cancels the run of a stage that has changed, and runs it again in its new version', () => {
    const heart = working(chain(2));
    const effects = heart.tell({
      type: 'revised',
      pipeline: more(stage('s0', ['input'], { version: 'new' }), stage('s1', ['s0'])),
      known: new Map([['a', []]]),
    });
    expect(only(effects, 'cancelRun')).toHaveLength(1);
    expect(only(heart.fail('s0'), 'swap')).toMatchObject([{ stage: 's0' }]);
    expect(only(heart.warm(), 'start')).toMatchObject([{ stage: 's0', attempt: 1 }]);
  });

  it('loads the input again when it was given back and a stage must read it', () => {
    const heart = working(chain(2));
    heart.commit('s0');
    const effects = heart.tell({
      type: 'revised',
      pipeline: more(...chainOf(2), stage('extra')),
      known: new Map([['a', [{ stream: 's0', sealed: true }]]]),
    });
    expect(only(effects, 'load')).toHaveLength(1);
  });

  it('drops stages that are no longer there, and delivers when nothing is left to run', () => {
    const heart = working(chain(2));
    heart.commit('s0');
    const effects = heart.tell({
      type: 'revised',
      pipeline: more(...chainOf(1)),
      known: new Map([['a', [{ stream: 's0', sealed: true }]]]),
    });
    expect(only(effects, 'cancelRun')).toHaveLength(1);
    expect(only(effects, 'deliver')).toHaveLength(1);
  });
});
