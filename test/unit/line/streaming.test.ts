import { describe, expect, it } from 'vitest';
import type { ResolvedStage, StageDeclaration } from '../../../runtime/contracts/manifest.js';
import { explainShard } from '../../../runtime/line/explain.js';
import { chainOf, pipelineOf, stage } from '../../simulation/pipelines.js';
import { errorOf, Heart, only } from '../../support/heart.js';

const form = (name: StageDeclaration['form']): Partial<ResolvedStage> => ({ declares: { form: name, keep: 'all' } });
const block = form('block');

/** A shard whose first stage works and has committed blocks; the slots hold the first stages. */
function leading(stages: ResolvedStage[] = chainOf(3, block), config: ConstructorParameters<typeof Heart>[1] = {}): Heart {
  const heart = new Heart(pipelineOf(stages), { slots: 3, cores: 3, ...config });
  heart.tell({ type: 'tick' });
  heart.lease('a');
  heart.loaded('a');
  heart.warm();
  return heart;
}
const grew = (heart: Heart, name: string, shardId = 'a') => heart.tell({ type: 'runGrew', ...heart.runOf(name, shardId) });
const started = (effects: ReturnType<Heart['tell']>) =>
  only(effects, 'start').map((start) => [start.stage, start.shardId, ...start.growing].join(' '));
const slotAt = (heart: Heart, name: string) => {
  const slot = heart.state.slots[heart.runOf(name).slot];
  if (slot?.phase !== 'running') throw new Error(`${name} does not run`);
  return slot;
};

describe('a stage follows the one that it reads', () => {
  it('when that has committed blocks and more are to come, and another one follows it', () => {
    const heart = leading();
    heart.nowMs = 40;
    expect(started(grew(heart, 's0'))).toEqual(['s1 a s0']);
    heart.nowMs = 50;
    const effects = grew(heart, 's1');
    expect(started(effects)).toEqual(['s2 a s1']);
    expect(only(effects, 'start')[0]?.readySinceMs).toBe(50);
    expect(explainShard(heart.state, 'a', 50)?.summary).toMatch(/s1 in slot \d for 0\.0 s, behind "s0"/);
    for (const name of ['s0', 's1']) expect(only(heart.commit(name), 'deliver')).toEqual([]);
    expect(only(heart.commit('s2'), 'deliver')).toHaveLength(1);
  });

  it('never when it, or what it reads, does not work block by block, or the pipeline says so', () => {
    const followers = (first: Partial<ResolvedStage>, second: Partial<ResolvedStage>): number =>
      only(grew(leading([stage('s0', ['input'], first), stage('s1', ['s0'], second)]), 's0'), 'start').length;
    expect(followers(block, form('row'))).toBe(1);
    expect(followers(form('bytes'), form('aggregate'))).toBe(1);
    expect(followers(form('aggregate'), block)).toBe(0);
    expect(followers({}, block)).toBe(0);
    expect(followers(block, {})).toBe(0);
    expect(followers(block, form('files'))).toBe(0);
    const pipeline = pipelineOf(chainOf(2, block));
    const off = new Heart({ ...pipeline, spec: { ...pipeline.spec, streaming: 'off' } });
    off.tell({ type: 'tick' });
    off.lease('a');
    off.loaded('a');
    off.warm();
    expect(started(grew(off, 's0'))).toEqual([]);
  });

  it('only while all its other inputs are whole or grow too', () => {
    const stages = [stage('left', ['input'], block), stage('right', ['input'], block), stage('join', ['left', 'right'], block)];
    const heart = leading(stages);
    expect(started(grew(heart, 'left'))).toEqual([]);
    expect(started(grew(heart, 'right'))).toEqual(['join a left right']);
    const other = leading(stages);
    grew(other, 'left');
    expect(started(other.commit('right'))).toEqual(['join a left']);
  });

  it('after shards whose inputs are whole, and only with a core to spare', () => {
    const heart = leading(chainOf(2, block), { slots: 2, cores: 2 });
    heart.lease('b');
    heart.loaded('b', 's0');
    expect(heart.runOf('s1').slot).toBe(heart.slotOf('s1'));
    expect(started(grew(heart, 's0'))).toEqual([]);
    expect(started(heart.commit('s1', 'b'))).toEqual(['s1 a s0']);
    expect(started(grew(leading(chainOf(2, block), { cores: 1 }), 's0'))).toEqual([]);
    expect(started(grew(leading(chainOf(2, { ...block, bound: 'io' }), { cores: 1 }), 's0'))).toEqual(['s1 a s0']);
  });
});

describe('when a leader or a follower fails', () => {
  it('the follower keeps its slot and waits, while the leader is tried again', () => {
    const heart = leading();
    grew(heart, 's0');
    heart.fail('s0');
    expect(heart.runOf('s1').slot).toBe(heart.slotOf('s1'));
    expect(started(heart.tick(100))).toEqual(['s0 a']);
    expect(only(heart.effects, 'cancelRun')).toEqual([]);
    heart.commit('s0');
    expect(started(heart.commit('s1'))).toEqual(['s2 a']);
  });

  it('nothing begins to follow a stage that itself waits for a leader', () => {
    const heart = leading(chainOf(4, block), { slots: 4, cores: 4 });
    heart.warm();
    grew(heart, 's0');
    heart.fail('s0');
    expect(started(grew(heart, 's1'))).toEqual([]);
    expect(started(heart.tick(100))).toEqual(['s0 a']);
    expect(started(grew(heart, 's0'))).toEqual(['s2 a s1']);
  });

  it('the leader gets its slot back when the slot was lost, although followers hold all others', () => {
    const heart = leading(chainOf(3, block), { slots: 2 });
    grew(heart, 's0');
    const { slot } = heart.runOf('s0');
    const step = slotAt(heart, 's0').step;
    heart.tell({ type: 'slotLost', slot, error: errorOf('PDL_STAGE_DIED') });
    heart.tick(100);
    expect(only(heart.tell({ type: 'swapFailed', slot, step, error: errorOf('PDL_SWAP_FAILED') }), 'swap')).toMatchObject([
      { slot, stage: 's0' },
    ]);
    expect(started(heart.warm())).toEqual(['s0 a']);
  });

  it('the follower is tried again after its back-off, behind its leader or on what that has left', () => {
    const heart = leading();
    grew(heart, 's0');
    heart.fail('s1');
    expect(heart.state.residents.get('a')?.stages.get('s1')).toMatchObject({ phase: 'waiting', failed: { attempt: 2 } });
    expect(explainShard(heart.state, 'a', 0)?.stages[1]?.why).toMatch(/failed \(PDL_STAGE_FAILED\) and is tried again in 0\.1 s/);
    expect(started(heart.tick(100))).toEqual(['s1 a s0']);
    heart.fail('s1');
    heart.commit('s0');
    expect(heart.state.residents.get('a')?.stages.get('s1')).toMatchObject({ phase: 'ready', attempt: 3, notBeforeMs: 300 });
    expect(only(heart.tick(200), 'start')).toMatchObject([{ stage: 's1', attempt: 3, growing: [] }]);
    expect(only(heart.fail('s1'), 'fail')).toMatchObject([{ shardId: 'a', stage: 's1' }]);
  });

  it('all of them end with the shard', () => {
    const heart = leading();
    grew(heart, 's0');
    expect(only(heart.tell({ type: 'leaseLost', shardId: 'a', reason: 'test' }), 'cancelRun')).toHaveLength(2);
    heart.fail('s0');
    expect(only(heart.fail('s1'), 'free')).toHaveLength(1);
  });
});

describe('the time limit of a follower', () => {
  it('counts from the moment at which its inputs are whole', () => {
    const heart = leading(chainOf(2, { ...block, timeoutMs: 1_000 }));
    heart.nowMs = 900;
    grew(heart, 's0');
    expect(slotAt(heart, 's0').deadlineMs).toBe(1_000);
    expect(slotAt(heart, 's1').deadlineMs).toBeUndefined();
    heart.nowMs = 950;
    heart.commit('s0');
    expect(slotAt(heart, 's1').deadlineMs).toBe(1_950);
    expect(only(heart.tick(1_000), 'cancelRun')).toMatchObject([{ kill: true }]);
  });
});

describe('a new revision', () => {
  const revised = (heart: Heart, stages: ResolvedStage[], ...sealed: string[]) =>
    heart.tell({
      type: 'revised',
      pipeline: pipelineOf(stages, undefined, 2),
      known: new Map([['a', sealed.map((stream) => ({ stream, sealed: true }))]]),
    });

  it('lets leader and follower go on when neither has changed', () => {
    const heart = leading();
    grew(heart, 's0');
    expect(only(revised(heart, [...chainOf(3, block), stage('extra', ['s0'])]), 'cancelRun')).toEqual([]);
    expect(heart.runOf('s1').slot).toBe(heart.slotOf('s1'));
  });

  it('cancels the follower too when its leader has changed', () => {
    const heart = leading();
    grew(heart, 's0');
    const stages = chainOf(3, block).map((at) => (at.name === 's0' ? { ...at, version: 'new' } : at));
    expect(only(revised(heart, stages), 'cancelRun')).toHaveLength(2);
  });

  it('loads a shard again when something that is needed now was given back', () => {
    const heart = leading();
    heart.commit('s0');
    const pipeline = pipelineOf([...chainOf(3, block), stage('extra', ['s0'])], undefined, 2);
    const known = new Map([['a', [{ stream: 's0', sealed: true }]]]);
    const effects = heart.tell({ type: 'revised', pipeline, known, incomplete: new Set(['a']) });
    expect(only(effects, 'load')).toMatchObject([{ shardId: 'a' }]);
    expect(only(effects, 'cancelRun')).toHaveLength(1);
  });
});
