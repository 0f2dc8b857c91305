/**
 * Sees that somebody else has changed or deleted the StatefulSet of a pipeline, so that it is mended at once and not at the next time that
 * everything is looked at. Other objects of a pipeline are mended then.
 *
 * Owns the informer; `close()` ends it. Leaves to the object writer which changes were our own.
 */
import { Informer } from './informer.js';
import type { KubeObject } from './kube-rest.js';
import { labels } from './names.js';
import type { ReconcilerOptions } from './reconciler-options.js';
import { collectionPath, objectPath, type Resource } from './resources.js';

/** The object at `path`, of the pipeline of that name, is as it is said to be; undefined, when it is gone. */
export type WorkloadSeen = (place: { namespace: string; name: string }, path: string, object: KubeObject | undefined) => void;

export class WorkloadWatch {
  readonly #informer: Informer<KubeObject>;

  constructor(
    options: Pick<ReconcilerOptions, 'rest' | 'workload' | 'watched' | 'clock' | 'random' | 'logger'>,
    resyncMs: number,
    seen: WorkloadSeen,
  ) {
    const { workload, watched, ...informed } = options;
    const resource: Resource = workload === 'kruise' ? 'kruise/StatefulSet' : 'apps/StatefulSet';
    const tell = (is: KubeObject, object: KubeObject | undefined): void => {
      const { metadata } = is;
      const name = metadata.labels?.[labels.pipeline];
      if (name !== undefined) seen({ namespace: metadata.namespace ?? '', name }, objectPath(resource, metadata), object);
    };
    this.#informer = new Informer({
      ...informed,
      resyncMs,
      path: collectionPath(resource, watched),
      labelSelector: `${labels.managedBy}=podline`,
      onChange: (object) => {
        tell(object, object);
      },
      onGone: (object) => {
        tell(object, undefined);
      },
    });
  }

  /** Goes on until `close()`. Nobody waits for it: without it, mending takes longer. */
  start(): void {
    void this.#informer.start();
  }

  close(): Promise<void> {
    return this.#informer.close();
  }
}
