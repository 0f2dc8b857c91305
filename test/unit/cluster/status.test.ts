import { describe, expect, it } from 'vitest';
import { eventsBetween, planStatus, type Observed } from '../../../runtime/cluster/status.js';
import type { PaceView } from '../../../runtime/contracts/views.js';
import { pipelineStatusSchema, type ConditionType, type PipelineStatus } from '../../../runtime/contracts/pipeline-status.js';

const none = { pending: 0, running: 0, completed: 0, failed: 0, cancelled: 0 };
const idle: Observed = {
  generation: 3,
  accepted: { revision: 2, counts: none, paused: false, running: [] },
  lines: { wanted: 2, there: 2, heard: 2, faults: [], unschedulable: [], resizePending: [], outdated: [] },
  input: { state: 'submitted', digest: 'd', submitted: 4 },
  selector: 'a=b',
  workload: 'kruise',
};
const seen = (more: Partial<Observed>, counts: Partial<typeof none> = {}): Observed => ({
  ...idle,
  accepted: { revision: 2, counts: { ...none, ...counts }, paused: false, running: [] },
  ...more,
});
const statusOf = (observed: Observed, before?: PipelineStatus, now = 't0'): PipelineStatus => planStatus(observed, before, now);
const condition = (status: PipelineStatus, type: ConditionType) => status.conditions?.find((one) => one.type === type);
const words = (observed: Observed, type: ConditionType): string => {
  const found = condition(statusOf(observed), type);
  return `${found?.status ?? ''} ${found?.reason ?? ''}`;
};
const refused = (final: boolean): Partial<Observed> => ({ refusal: { reason: 'SpecInvalid', message: 'no such stage', final } });

describe('Complete', () => {
  it('is unknown while there is work or an input to submit, and when nothing was ever submitted', () => {
    expect(words(seen({ input: { state: 'open' } }), 'Complete')).toBe('Unknown ShardsOpen');
    expect(words(seen({}, { pending: 1, completed: 3 }), 'Complete')).toBe('Unknown ShardsOpen');
    expect(words(seen({}, { running: 1, failed: 1 }), 'Complete')).toBe('Unknown ShardsOpen');
    expect(words(seen({ input: { state: 'none' } }), 'Complete')).toBe('Unknown NoShards');
    expect(words({ ...idle, accepted: undefined }, 'Complete')).toBe('Unknown ShardsOpen');
  });

  it('is true when every shard was delivered, and false when one failed and nothing goes on', () => {
    expect(words(seen({}, { completed: 4 }), 'Complete')).toBe('True ShardsCompleted');
    expect(words(seen({}, { completed: 3, failed: 1 }), 'Complete')).toBe('False ShardsFailed');
  });

  it('names the first shard that failed', () => {
    const failing: Observed = {
      ...idle,
      accepted: { revision: 1, counts: { ...none, failed: 2 }, paused: false, running: [], failure: 'a#1: exit code 3' },
    };
    expect(condition(statusOf(failing), 'Complete')?.message).toBe('2 shards failed; the first: a#1: exit code 3');
  });

  it('is false for what will never be worked on, and unknown where it may pass or an earlier form still runs', () => {
    expect(words(seen({ ...refused(true), accepted: undefined }), 'Complete')).toBe('False SpecInvalid');
    expect(words(seen({ ...refused(false), accepted: undefined }), 'Complete')).toBe('Unknown SpecInvalid');
    expect(words(seen(refused(true), { running: 1 }), 'Complete')).toBe('Unknown ShardsOpen');
  });
});

describe('Ready, Progressing and Degraded', () => {
  it('say that a claim of storage is what keeps a line from a node', () => {
    for (const words_ of [
      '0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.',
      "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.",
      '0/2 nodes are available: 2 node(s) had volume node affinity conflict.',
    ]) {
      const waiting = seen({ lines: { ...idle.lines, unschedulable: [`flights-0: ${words_}`] } });
      expect(words(waiting, 'Degraded')).toBe('True VolumePending');
      expect(condition(statusOf(waiting), 'Degraded')?.message).toBe(`flights-0: ${words_}`);
    }
  });

  it('say that no node has room for a line, in the words of the scheduler', () => {
    const full = '0/1 nodes are available: 1 Insufficient memory.';
    const waiting = seen(
      { lines: { wanted: 1, there: 1, heard: 0, faults: [], unschedulable: [`p-0: ${full}`], resizePending: [], outdated: [] } },
      { pending: 5 },
    );
    expect(words(waiting, 'Ready')).toBe('False LinesStarting');
    expect(words(waiting, 'Degraded')).toBe('True Unschedulable');
    expect(words(waiting, 'Progressing')).toBe('False Stuck');
    expect(condition(statusOf(waiting), 'Progressing')?.message).toBe(`5 shards waiting, and no line works: p-0: ${full}`);
  });

  it('are true, false and false on a pipeline that has nothing to do', () => {
    expect(['Ready', 'Progressing', 'Degraded'].map((type) => words(idle, type as ConditionType))).toEqual([
      'True LinesReady',
      'False Idle',
      'False AsExpected',
    ]);
  });

  it('say that lines are on their way, and how many there are', () => {
    const starting = seen({
      lines: { wanted: 3, there: 2, heard: 1, faults: [], unschedulable: [], resizePending: [], outdated: [] },
    });
    expect(condition(statusOf(starting), 'Ready')).toMatchObject({
      status: 'False',
      reason: 'LinesStarting',
      message: '1 of 3 lines ready',
    });
    expect(words(starting, 'Progressing')).toBe('True LinesStarting');
  });

  it('do not count a line whose pod is gone', () => {
    expect(
      words(
        seen({ lines: { wanted: 2, there: 1, heard: 2, faults: [], unschedulable: [], resizePending: [], outdated: [] } }),
        'Ready',
      ),
    ).toBe('False LinesStarting');
  });

  it('say that nothing goes on when work waits and no line works', () => {
    const stuck = seen(
      {
        lines: {
          wanted: 1,
          there: 1,
          heard: 0,
          faults: ['p-0: ImagePullBackOff'],
          unschedulable: [],
          resizePending: [],
          outdated: [],
        },
      },
      { pending: 5 },
    );
    expect(condition(statusOf(stuck), 'Progressing')).toMatchObject({
      reason: 'Stuck',
      message: '5 shards waiting, and no line works: p-0: ImagePullBackOff',
    });
    expect(words(stuck, 'Degraded')).toBe('True SwapFailed');
  });

  it('say that a pod has less than its stages ask for, unless something worse is amiss', () => {
    const lines = {
      wanted: 1,
      there: 1,
      heard: 1,
      faults: [],
      unschedulable: [],
      resizePending: ['p-0: Deferred: no room'],
      outdated: [],
    };
    expect(condition(statusOf(seen({ lines }, { running: 1 })), 'Degraded')).toMatchObject({
      status: 'True',
      reason: 'ResizePending',
      message: 'p-0: Deferred: no room',
    });
    expect(words(seen({ lines }, { failed: 1 }), 'Degraded')).toBe('True ShardsFailed');
  });

  it('say that pods are of an earlier template and how they are renewed, unless something else is amiss; their lines are ready', () => {
    const outdated = seen({ lines: { ...idle.lines, outdated: ['p-0', 'p-1'] } }, { running: 1 });
    expect(condition(statusOf(outdated), 'Degraded')).toMatchObject({
      status: 'True',
      reason: 'LinesOutdated',
      message:
        'p-0 (and 1 other pod) was created before the template of the pods changed, and stays as it was: delete the pod, and its line goes on in a new one',
    });
    expect(words(outdated, 'Ready')).toBe('True LinesReady');
    expect(words(outdated, 'Progressing')).toBe('True Working');
    expect(eventsBetween(statusOf(idle), statusOf(outdated)).map(({ type, reason }) => [type, reason])).toContainEqual([
      'Warning',
      'LinesOutdated',
    ]);
    const worse = { ...idle.lines, outdated: ['p-0'], resizePending: ['p-0: Deferred: no room'] };
    expect(words(seen({ lines: worse }), 'Degraded')).toBe('True ResizePending');
  });

  it('say that it works, is paused, has no lines', () => {
    expect(words(seen({}, { running: 1 }), 'Progressing')).toBe('True Working');
    const paused: Observed = { ...idle, accepted: { revision: 1, counts: { ...none, pending: 1 }, paused: true, running: [] } };
    expect(words(paused, 'Progressing')).toBe('False Paused');
    expect(
      words(
        seen({ lines: { wanted: 0, there: 0, heard: 0, faults: [], unschedulable: [], resizePending: [], outdated: [] } }),
        'Ready',
      ),
    ).toBe('False NoLines');
  });

  it('all name a refusal, with its words', () => {
    for (const type of ['Ready', 'Progressing', 'Degraded'] as const)
      expect(condition(statusOf(seen(refused(true))), type)).toMatchObject({ reason: 'SpecInvalid', message: 'no such stage' });
  });
});

describe('the status', () => {
  it('fits its schema', () => {
    expect(pipelineStatusSchema.safeParse(statusOf(seen(refused(true), { completed: 1 })))).toMatchObject({ success: true });
  });

  it('says the same again while nothing changes, whenever it is asked', () => {
    const first = statusOf(idle);
    expect(statusOf(idle, first, 't1')).toEqual(first);
  });

  it('keeps the time of a transition until the next one', () => {
    const first = statusOf(seen({}, { running: 1 }));
    const second = statusOf(seen({}, { running: 2 }), first, 't1');
    expect(condition(second, 'Progressing')?.lastTransitionTime).toBe('t0');
    const third = statusOf(seen({}, { completed: 2 }), second, 't2');
    expect(condition(third, 'Progressing')?.lastTransitionTime).toBe('t2');
    expect(condition(third, 'Ready')?.lastTransitionTime).toBe('t0');
  });

  it('names a few of the stages that run, in one order', () => {
    const running = (...names: string[]): string | undefined =>
      statusOf({ ...idle, accepted: { revision: 1, counts: none, paused: false, running: names } }).stage;
    expect(running('b', 'a', 'b')).toBe('a,b');
    expect(running('e', 'd', 'c', 'b', 'a')).toBe('a,b,c +2');
    expect(running()).toBe('');
  });

  it('says the pace while shards are open, with what else is new, and by itself only a pause', () => {
    const status = (pace: PaceView, before?: PipelineStatus, counts: Partial<typeof none> = { pending: 2 }): PipelineStatus =>
      statusOf({ ...idle, accepted: { revision: 1, counts: { ...none, ...counts }, paused: false, running: [], pace } }, before);
    const first = status({ batch: 16, pause: 'none', why: 'halved at 90' });
    expect(first.pace).toEqual({ batch: 16, pause: 'none', why: 'halved at 90' });
    expect(status({ batch: 32, pause: 'none', why: 'doubled at 1' }, first)).toEqual(first);
    expect(status({ batch: 32, pause: 'none', why: 'doubled at 1' }, first, { pending: 1 }).pace?.why).toBe('doubled at 1');
    const paused = status({ batch: 16, pause: 'full', retryAfterS: 9, why: 'paused at 99' }, first);
    expect(paused.pace).toEqual({ batch: 16, pause: 'full', why: 'paused at 99' });
    expect(status({ batch: 16, pause: 'none', why: 'as before' }, paused).pace?.pause).toBe('none');
    expect(status({ batch: 32, pause: 'none', why: 'doubled at 0' }, first, { completed: 1 })).not.toHaveProperty('pace');
  });

  it('cuts a message that is too long', () => {
    const long = seen({ refusal: { reason: 'SpecInvalid', message: 'x'.repeat(100_000), final: true } });
    expect(condition(statusOf(long), 'Ready')?.message).toHaveLength(1_025);
  });
});

describe('events', () => {
  const between = (before: Observed | undefined, after: Observed): string[] =>
    eventsBetween(before === undefined ? undefined : statusOf(before), statusOf(after)).map(
      ({ type, reason }) => `${type} ${reason}`,
    );

  it('tell of what has changed, and of nothing else', () => {
    expect(between(seen({}, { running: 1 }), seen({}, { running: 2 }))).toEqual([]);
    expect(between(seen({}, { running: 1 }), seen({}, { completed: 1 }))).toEqual(['Normal ShardsCompleted']);
  });

  it('warn of what went wrong, once for all conditions that say it', () => {
    expect(between(seen({}, { running: 1 }), seen({}, { failed: 1 }))).toEqual(['Warning ShardsFailed']);
    expect(between(undefined, seen({ ...refused(true), accepted: undefined }))).toEqual(['Warning SpecInvalid']);
  });
});
