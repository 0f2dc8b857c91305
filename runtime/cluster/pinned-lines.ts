/**
 * Lines that their SSD's claim keeps from every node: the storage is on a node that is lost, drained or full, and the pod may go nowhere else. What
 * lies there saves work and nothing else, so after a while such a line gets a claim anew, and comes up where there is room.
 *
 * Invariant: a claim goes only while its pod has no node, and the pod goes with it, by its uid; both are the StatefulSet's to make again.
 */
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import { viewOf } from './kube.js';
import { isStatus, type KubeObject, type KubeRest } from './kube-rest.js';
import { ssdClaimOf } from './plan-claims.js';
import { nodeAwaySeconds } from './plan-placement.js';
import { objectPath } from './resources.js';

/** The scheduler's words for storage that is on another node, since Kubernetes 1.34 and before. */
const elsewhere = /match PersistentVolume's node affinity|volume node affinity conflict/;
/** As long as lines wait for a node that is away. */
const waitMs = nodeAwaySeconds * 1_000;

export class PinnedLines {
  /** By uid: since when no node could have the pod. */
  readonly #sinceMs = new Map<string, number>();

  constructor(private readonly options: { rest: KubeRest; clock: Clock; logger: Logger }) {}

  /** Frees those of `pods`, all of one pipeline whose lines claim their SSD. Answers after how long to look again, where that is so. Throws KubeFailure. */
  async release(pods: readonly KubeObject[]): Promise<number | undefined> {
    const nowMs = this.options.clock.nowMs();
    const waits: number[] = [];
    for (const pod of pods) {
      const { uid, deleting, unschedulable } = viewOf(pod);
      if (deleting || unschedulable === undefined || !elsewhere.test(unschedulable)) {
        this.#sinceMs.delete(uid);
        continue;
      }
      const sinceMs = this.#sinceMs.get(uid) ?? nowMs;
      this.#sinceMs.set(uid, sinceMs);
      if (nowMs - sinceMs < waitMs) waits.push(sinceMs + waitMs - nowMs);
      else await this.#releaseOne(pod);
    }
    return waits.length === 0 ? undefined : Math.min(...waits);
  }

  /** The pod is not there any more. */
  forget({ metadata: { uid = '' } }: KubeObject): void {
    this.#sinceMs.delete(uid);
  }

  async #releaseOne({ metadata }: KubeObject): Promise<void> {
    const { namespace, name, uid } = metadata;
    this.options.logger.warn(
      { pod: name },
      'the SSD that a line claimed is on a node that cannot have it: it claims another one',
    );
    await this.#delete(objectPath('PersistentVolumeClaim', { namespace, name: ssdClaimOf(name) }), {});
    await this.#delete(objectPath('Pod', metadata), { preconditions: { uid } });
  }

  async #delete(path: string, more: object): Promise<void> {
    try {
      await this.options.rest.request('DELETE', path, { body: { apiVersion: 'v1', kind: 'DeleteOptions', ...more } });
    } catch (thrown) {
      if (!isStatus(thrown, 404) && !isStatus(thrown, 409)) throw thrown;
    }
  }
}
