/**
 * Pods of lines whose node will not end them, because it is dead or cut off.
 *
 * Kubernetes deletes the pods of a node that it has given up, and then waits until that node's kubelet says that they have ended. A dead
 * one never does, and until then a StatefulSet makes no other pod of that name (kubernetes#74689). So the coordinator removes them: it
 * alone knows whether the line still speaks, and that whatever a line says or writes after its time is refused by its epoch.
 *
 * Invariants
 *  1. Only what somebody has deleted is removed, after the whole of its grace period and a lease time more, in none of which its agent was heard.
 *  2. Time is counted by our own clock from when the deletion was first seen; what was removed is named by uid.
 */
import { limits } from '../contracts/limits.js';
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import type { Desk } from './desk.js';
import type { KubeObject, KubeRest } from './kube-rest.js';
import { isStatus } from './kube-rest.js';
import { isAgentOf } from './names.js';
import { objectPath } from './resources.js';

export interface LostPodsOptions {
  rest: KubeRest;
  desk: Pick<Desk, 'lines'>;
  clock: Clock;
  logger: Logger;
}

export class LostPods {
  /** By uid: when its deletion was first seen. */
  readonly #deletedMs = new Map<string, number>();

  constructor(private readonly options: LostPodsOptions) {}

  /** Removes those of `pods`, all of one pipeline, that are lost. Answers after how long there may be more; `undefined`: not before one changes. */
  async remove(pods: readonly KubeObject[]): Promise<number | undefined> {
    const deleted = pods.filter(({ metadata }) => metadata.deletionTimestamp !== undefined);
    if (deleted.length === 0) return undefined;
    const { desk, clock } = this.options;
    const nowMs = clock.nowMs();
    const lines = await desk.lines();
    const waits: number[] = [];
    for (const pod of deleted) {
      const { uid = '', deletionGracePeriodSeconds = 0 } = pod.metadata;
      const sinceMs = this.#deletedMs.get(uid) ?? nowMs;
      this.#deletedMs.set(uid, sinceMs);
      const heard = lines.filter(({ instance, state }) => isAgentOf(instance, uid) && state !== 'silent');
      const silentMs = Math.min(Infinity, ...heard.map((line) => line.silentMs));
      const waitMs = Math.max(
        sinceMs + deletionGracePeriodSeconds * 1_000 + limits.leaseTtlMs - nowMs,
        limits.leaseTtlMs - silentMs,
      );
      if (waitMs > 0) waits.push(waitMs);
      else await this.#removeOne(pod);
    }
    return waits.length === 0 ? undefined : Math.min(...waits);
  }

  /** The pod is not there any more. */
  forget({ metadata: { uid = '' } }: KubeObject): void {
    this.#deletedMs.delete(uid);
  }

  async #removeOne({ metadata, spec }: KubeObject): Promise<void> {
    const { rest, logger } = this.options;
    const { nodeName } = (spec ?? {}) as { nodeName?: string };
    logger.warn({ pod: metadata.name, node: nodeName }, 'a pod that its node does not end is removed: its node is lost');
    try {
      await rest.request('DELETE', objectPath('Pod', metadata), {
        query: { gracePeriodSeconds: '0' },
        body: { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 0, preconditions: { uid: metadata.uid } },
      });
    } catch (thrown) {
      // It went by itself, or another one has its name.
      if (!isStatus(thrown, 404) && !isStatus(thrown, 409)) throw thrown;
    }
  }
}
