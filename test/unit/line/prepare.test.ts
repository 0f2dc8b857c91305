/** Runs that slots are told of beforehand. */
import { describe, expect, it } from 'vitest';
import type { ResolvedStage, StageDeclaration } from '../../../runtime/contracts/manifest.js';
import { chainOf, pipelineOf, stage } from '../../simulation/pipelines.js';
import { errorOf, Heart, only } from '../../support/heart.js';

const form = (name: StageDeclaration['form']): Partial<ResolvedStage> => ({ declares: { form: name, keep: 'all' } });
const block = form('block');

/** Shard `a` at its first stage, with the slots full. */
function working(stages: ResolvedStage[] = chainOf(3, block), config: ConstructorParameters<typeof Heart>[1] = {}): Heart {
  const heart = new Heart(pipelineOf(stages), { slots: 2, cores: 1, ...config });
  heart.tell({ type: 'tick' });
  heart.lease('a');
  heart.loaded('a');
  heart.warm();
  return heart;
}
const prepared = (heart: Heart) => [...heart.state.prepared.values()].map(({ stage: name, shardId }) => `${name} ${shardId}`);

describe('the next stage is prepared', () => {
  it('while the one before it works, and is started as that run', () => {
    const heart = working(chainOf(3, block), { slots: 2 });
    expect(only(heart.effects, 'prepare').slice(-1)).toMatchObject([{ stage: 's1', shardId: 'a', attempt: 1, growing: ['s0'] }]);
    const [{ slot, runId } = { slot: -1, runId: '' }] = only(heart.effects, 'prepare').slice(-1);
    const effects = heart.commit('s0');
    expect(only(effects, 'start')).toMatchObject([{ stage: 's1', slot, runId, growing: [] }]);
    expect(only(effects, 'withdraw')).toEqual([]);
    expect(only(heart.warm(), 'prepare')).toMatchObject([{ stage: 's2', shardId: 'a', growing: ['s1'] }]);
  });

  it('and the one after it, as far as slots hold them', () => {
    const heart = working(chainOf(4, block), { slots: 4 });
    expect(prepared(heart)).toEqual(['s1 a', 's2 a', 's3 a']);
    const runs = only(heart.effects, 'prepare').map(({ runId }) => runId);
    for (const name of ['s0', 's1', 's2']) heart.commit(name);
    expect(only(heart.effects, 'start').map(({ runId }) => runId)).toEqual(expect.arrayContaining(runs.slice(-3)));
    expect(only(heart.effects, 'withdraw')).toEqual([]);
  });

  it('once', () => {
    const heart = working();
    heart.tick(10);
    heart.tell({ type: 'runGrew', ...heart.runOf('s0') });
    expect(only(heart.effects, 'prepare')).toHaveLength(1);
  });

  it('and follows as the same run where there is a core for it', () => {
    const heart = working(chainOf(3, block), { cores: 2 });
    const [{ runId } = { runId: '' }] = only(heart.effects, 'prepare');
    expect(only(heart.tell({ type: 'runGrew', ...heart.runOf('s0') }), 'start')).toMatchObject([
      { stage: 's1', runId, growing: ['s0'] },
    ]);
  });

  it('whatever makes its input, if its own slot can begin by itself', () => {
    const after = (first: Partial<ResolvedStage>, second: Partial<ResolvedStage>): string[] =>
      prepared(working([stage('s0', ['input'], first), stage('s1', ['s0'], second)]));
    expect(after({}, block)).toEqual(['s1 a']);
    expect(after(form('files'), form('aggregate'))).toEqual(['s1 a']);
    expect(after(block, {})).toEqual([]);
    expect(after(block, form('files'))).toEqual([]);
    expect(after(block, { ...block, executor: 'process' })).toEqual([]);
  });

  it('only when all that it lacks is being made', () => {
    const stages = [stage('left', ['input'], block), stage('right', ['input'], block), stage('join', ['left', 'right'], block)];
    expect(prepared(working(stages, { slots: 3 }))).toEqual([]);
    expect(prepared(working(stages, { slots: 3, cores: 2 }))).toEqual(['join a']);
  });
});

describe('a core is taken over, not added', () => {
  const io = { ...block, bound: 'io' as const };

  it('one run behind each cpu-bound one, and none behind an io-bound one', () => {
    const fork = [stage('s0', ['input'], block), stage('s1', ['s0'], block), stage('s2', ['s0'], block)];
    expect(prepared(working(fork, { slots: 3 }))).toEqual(['s1 a']);
    expect(prepared(working([stage('s0', ['input'], io), stage('s1', ['s0'], block)]))).toEqual([]);
    const waits = [stage('s0', ['input'], block), stage('s1', ['s0'], io), stage('s2', ['s0'], io)];
    expect(prepared(working(waits, { slots: 3 }))).toEqual(['s1 a', 's2 a']);
  });

  it('not while a shard that is ready waits for one', () => {
    const heart = working(chainOf(3, block), { slots: 3 });
    expect(prepared(heart)).toEqual(['s1 a', 's2 a']);
    heart.lease('b');
    const effects = heart.loaded('b', 's0', 's1');
    expect(only(effects, 'withdraw')).toHaveLength(2);
    expect(prepared(heart)).toEqual([]);
  });
});

describe('the first stage is prepared while its shard is loaded', () => {
  /** Shard `a` is being loaded; the slots hold the first stages. */
  function loading(lease: Parameters<Heart['lease']>[1] = {}, cores = 1): Heart {
    const heart = new Heart(pipelineOf(chainOf(3, block)), { slots: 2, cores });
    heart.tell({ type: 'tick' });
    heart.lease('a', lease);
    heart.warm();
    return heart;
  }

  it('and is started as that run', () => {
    const heart = loading();
    expect(only(heart.effects, 'prepare')).toMatchObject([
      { stage: 's0', shardId: 'a', growing: ['input'] },
      { stage: 's1', shardId: 'a', growing: ['s0'] },
    ]);
    const [{ runId } = { runId: '' }] = only(heart.effects, 'prepare');
    expect(only(heart.loaded('a'), 'start')).toMatchObject([{ stage: 's0', runId }]);
  });

  it('not where something of it may be there already', () => {
    expect(prepared(loading({ epoch: 2 }))).toEqual([]);
    expect(prepared(loading({ resumeFrom: 's1' }))).toEqual([]);
  });

  it('only with a core to spare', () => {
    const heart = working(chainOf(2, block), { slots: 2 });
    expect(prepared(heart)).toEqual(['s1 a']);
    heart.commit('s0');
    heart.lease('b');
    expect(prepared(heart)).toEqual([]);
    heart.commit('s1');
    expect(prepared(heart)).toEqual(['s0 b', 's1 b']);
  });
});

describe('what was prepared is withdrawn', () => {
  it('when what makes its input has failed, and prepared again with it', () => {
    const heart = working();
    const [{ slot, runId } = { slot: -1, runId: '' }] = only(heart.effects, 'prepare');
    expect(only(heart.fail('s0'), 'withdraw')).toEqual([{ type: 'withdraw', slot, runId }]);
    const again = only(heart.tick(100), 'prepare');
    expect(again).toMatchObject([{ stage: 's1', shardId: 'a', slot }]);
    expect(again[0]?.runId).not.toBe(runId);
  });

  it('when its shard leaves the line', () => {
    const heart = working();
    expect(only(heart.tell({ type: 'leaseLost', shardId: 'a', reason: 'test' }), 'withdraw')).toHaveLength(1);
  });

  it('when its slot was lost: another process knows nothing of it', () => {
    const heart = working();
    const slot = heart.slotOf('s1');
    const lost = heart.tell({ type: 'slotLost', slot, error: errorOf('PDL_STAGE_DIED') });
    expect(only(lost, 'withdraw')).toHaveLength(1);
    const step = (heart.state.slots[slot] as { step: string }).step;
    heart.tell({ type: 'slotHello', slot, stage: 's1', step });
    expect(only(heart.tell({ type: 'slotReady', slot, step }), 'prepare')).toMatchObject([{ stage: 's1', slot }]);
  });

  it('when another shard is ready for the stage, which has the slot', () => {
    const heart = working(chainOf(3, block), { cores: 2 });
    heart.lease('b');
    const effects = heart.loaded('b', 's0');
    expect(only(effects, 'start')).toMatchObject([{ stage: 's1', shardId: 'b' }]);
    expect(only(effects, 'withdraw')).toHaveLength(1);
    expect(only(effects, 'start')[0]?.runId).not.toBe(only(effects, 'withdraw')[0]?.runId);
  });

  it('and prepared anew under another revision of the pipeline', () => {
    const heart = working();
    const [{ runId } = { runId: '' }] = only(heart.effects, 'prepare').slice(-1);
    const pipeline = { ...pipelineOf(chainOf(3, block)), revision: heart.state.revision + 1 };
    const effects = heart.tell({ type: 'revised', pipeline, known: new Map() });
    expect(only(effects, 'withdraw')).toMatchObject([{ runId }]);
    expect(only(effects, 'prepare')).toMatchObject([{ stage: 's1', shardId: 'a' }]);
  });
});
