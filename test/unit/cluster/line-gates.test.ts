import { beforeEach, describe, expect, it } from 'vitest';
import { KubeFailure } from '../../../runtime/cluster/kube.js';
import type { KubeObject, KubeRest } from '../../../runtime/cluster/kube-rest.js';
import { gateOf, LineGates } from '../../../runtime/cluster/line-gates.js';
import { gateType } from '../../../runtime/cluster/names.js';
import type { LineView } from '../../../runtime/contracts/views.js';

const lineOf = (state: LineView['state'], uid = 'uid-1'): LineView => ({ instance: `${uid}.a`, state }) as LineView;
const podOf = (said?: 'True' | 'False', more: Partial<KubeObject> = {}): KubeObject => ({
  metadata: { name: 'flights-0', namespace: 'lines', uid: 'uid-1' },
  spec: { readinessGates: [{ conditionType: gateType }] },
  status: { conditions: said === undefined ? [] : [{ type: gateType, status: said }] },
  ...more,
});
const word = (pod: KubeObject, lines: LineView[], isNew = false): string | undefined => {
  const gate = gateOf(pod, lines, isNew);
  return gate === undefined ? undefined : `${gate.status} ${gate.reason}`;
};

describe('the gate of a line’s pod', () => {
  it('is opened when the agent of that very pod was heard, drained or not', () => {
    expect(word(podOf(), [lineOf('active')])).toBe('True LineReady');
    expect(word(podOf('False'), [lineOf('draining')])).toBe('True LineReady');
    expect(word(podOf(), [lineOf('active', 'uid-2')])).toBeUndefined();
    expect(word(podOf(), [])).toBeUndefined();
  });

  it('is shut while that agent is silent, or forgotten', () => {
    expect(word(podOf('True'), [lineOf('silent')])).toBe('False LineSilent');
    expect(word(podOf('True'), [])).toBe('False LineSilent');
  });

  it('is not shut by a coordinator that has just begun, to which nobody has said hello yet', () => {
    expect(word(podOf('True'), [], true)).toBeUndefined();
    expect(word(podOf(), [lineOf('active')], true)).toBe('True LineReady');
  });

  it('is not said twice', () => {
    expect(word(podOf('True'), [lineOf('active')])).toBeUndefined();
    expect(word(podOf('False'), [lineOf('silent')])).toBeUndefined();
  });

  it('is nothing to a pod that was made without it, or that goes', () => {
    expect(word(podOf(undefined, { spec: {} }), [lineOf('active')])).toBeUndefined();
    const metadata = { name: 'flights-0', uid: 'uid-1', deletionTimestamp: '2026-01-01T00:00:00Z' };
    expect(word(podOf('True', { metadata }), [])).toBeUndefined();
  });
});

describe('writing gates', () => {
  let lines: LineView[];
  let written: { path: string; body: unknown }[];
  let answer: () => void;
  let gates: LineGates;

  beforeEach(() => {
    lines = [];
    written = [];
    answer = () => undefined;
    const rest: Pick<KubeRest, 'request'> = {
      request: <T>(method: string, path: string, { body }: { body?: unknown } = {}) => {
        answer();
        written.push({ path: `${method} ${path}`, body });
        return Promise.resolve({} as T);
      },
    };
    const desk = { lines: () => Promise.resolve(lines) };
    gates = new LineGates({ rest: rest as KubeRest, desk, clock: { wall: () => 'now' } });
  });

  it('names the pod by its uid, and changes that one condition', async () => {
    lines = [lineOf('active')];
    expect(await gates.write([podOf()], false)).toBeUndefined();
    const condition = { type: gateType, status: 'True', reason: 'LineReady', message: 'the agent of this pod was heard' };
    expect(written).toEqual([
      {
        path: 'PATCH /api/v1/namespaces/lines/pods/flights-0/status',
        body: { metadata: { uid: 'uid-1' }, status: { conditions: [{ ...condition, lastTransitionTime: 'now' }] } },
      },
    ]);
  });

  it('looks again while a line is silent: that it speaks again is no event', async () => {
    lines = [lineOf('silent')];
    expect(await gates.write([podOf('False')], false)).toBeGreaterThan(0);
    expect(written).toEqual([]);
  });

  it('takes a pod that went meanwhile for gone, and throws what is refused', async () => {
    lines = [lineOf('active')];
    answer = () => {
      throw new KubeFailure(409, 'another one has its name');
    };
    await gates.write([podOf()], false);
    answer = () => {
      throw new KubeFailure(403, 'pods/status is forbidden');
    };
    await expect(gates.write([podOf()], false)).rejects.toThrow('pods/status is forbidden');
  });
});
