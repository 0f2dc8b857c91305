/**
 * Says of each pod of a line whether its line is there: a readiness gate of our own, which the kubelet makes part of `Ready`. OpenKruise's gate,
 * `InPlaceUpdateReady`, is OpenKruise's to set.
 *
 * It is True once the agent of that very pod has said hello, and False while that agent is silent. A swap is neither: agent and address stay.
 * A pod that was made without the gate has none, and is left alone.
 *
 * Invariants
 *  1. Nothing is written that is said already.
 *  2. A coordinator that has just begun takes no gate back: lines have to say hello to it first.
 */
import type { LineView } from '../contracts/views.js';
import type { Clock } from '../platform/clock.js';
import type { Desk } from './desk.js';
import { isStatus, patchType, type KubeObject, type KubeRest } from './kube-rest.js';
import { gateType, isAgentOf } from './names.js';
import { fieldManager } from './object-writer.js';
import { objectPath } from './resources.js';

export interface Gate {
  status: 'True' | 'False';
  reason: 'LineReady' | 'LineSilent';
  message: string;
}

const open: Gate = { status: 'True', reason: 'LineReady', message: 'the agent of this pod was heard' };
const shut: Gate = {
  status: 'False',
  reason: 'LineSilent',
  message: 'the agent of this pod says nothing any more: its shards go to other lines',
};

interface PodConditions {
  conditions?: { type: string; status: string; reason?: string }[];
}

/** What there is to say of a pod; undefined where nothing is, or it is said. `isNew`: the coordinator has just begun. Pure. */
export function gateOf(pod: KubeObject, lines: readonly LineView[], isNew: boolean): Gate | undefined {
  const { readinessGates = [] } = (pod.spec ?? {}) as { readinessGates?: { conditionType: string }[] };
  if (pod.metadata.deletionTimestamp !== undefined || readinessGates.every(({ conditionType }) => conditionType !== gateType))
    return undefined;
  const said = ((pod.status ?? {}) as PodConditions).conditions?.find(({ type }) => type === gateType);
  const isHeard = lines.some(({ instance, state }) => state !== 'silent' && isAgentOf(instance, pod.metadata.uid ?? ''));
  if (isHeard) return said?.status === 'True' ? undefined : open;
  return said?.status === 'True' && !isNew ? shut : undefined;
}

/** While a line is silent, it is looked at again after this: that it speaks again is no event. */
const silentAgainMs = 5_000;

export class LineGates {
  constructor(private readonly options: { rest: KubeRest; desk: Pick<Desk, 'lines'>; clock: Pick<Clock, 'wall'> }) {}

  /** Of all pods of a pipeline. Answers after how long to look again, where that is so. Throws KubeFailure. */
  async write(pods: readonly KubeObject[], isNew: boolean): Promise<number | undefined> {
    const { desk, clock } = this.options;
    const lines = await desk.lines();
    for (const pod of pods) {
      const gate = gateOf(pod, lines, isNew);
      if (gate !== undefined) await this.#writeOne(pod, { type: gateType, ...gate, lastTransitionTime: clock.wall() });
    }
    const isSilent = pods.some(({ metadata: { uid = '' } }) =>
      lines.some(({ instance, state }) => state === 'silent' && isAgentOf(instance, uid)),
    );
    return isSilent ? silentAgainMs : undefined;
  }

  async #writeOne({ metadata }: KubeObject, condition: object): Promise<void> {
    try {
      await this.options.rest.request('PATCH', `${objectPath('Pod', metadata)}/status`, {
        body: { metadata: { uid: metadata.uid }, status: { conditions: [condition] } },
        contentType: patchType.strategic,
        query: { fieldManager },
      });
    } catch (thrown) {
      // It went, or another one has its name.
      if (!isStatus(thrown, 404) && !isStatus(thrown, 409)) throw thrown;
    }
  }
}
