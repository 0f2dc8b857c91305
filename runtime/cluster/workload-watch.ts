/**
 * Sees that somebody else has changed or deleted the StatefulSet of a pipeline, so that it is mended at once and not at the next time that
 * everything is looked at. Other objects of a pipeline are mended then. Knows which template pods are created from.
 *
 * Owns the informer; `close()` ends it. Leaves to the object writer which changes were our own.
 */
import { Informer } from './informer.js';
import type { KubeObject } from './kube-rest.js';
import type { Place } from './line-targets.js';
import { labels } from './names.js';
import { revisionOf } from './outdated-pods.js';
import type { ReconcilerOptions } from './reconciler-options.js';
import { collectionPath, objectPath, type Resource } from './resources.js';

export interface WorkloadListener {
  /** The object at `path`, of the pipeline of that name, is as it is said to be; undefined, when it is gone. */
  seen: (place: Place, path: string, object: KubeObject | undefined) => void;
  /** Pods of the pipeline are created from another template from now on. */
  revised: (place: Place) => void;
}

export class WorkloadWatch {
  readonly #informer: Informer<KubeObject>;

  constructor(
    options: Pick<ReconcilerOptions, 'rest' | 'workload' | 'watched' | 'clock' | 'random' | 'logger'>,
    resyncMs: number,
    { seen, revised }: WorkloadListener,
  ) {
    const { workload, watched, ...informed } = options;
    const resource: Resource = workload === 'kruise' ? 'kruise/StatefulSet' : 'apps/StatefulSet';
    const tell = (is: KubeObject, object: KubeObject | undefined, before?: KubeObject): void => {
      const { metadata } = is;
      const name = metadata.labels?.[labels.pipeline];
      if (name === undefined) return;
      const place = { namespace: metadata.namespace ?? '', name };
      seen(place, objectPath(resource, metadata), object);
      if (before === undefined || revisionOf(before) !== revisionOf(is)) revised(place);
    };
    this.#informer = new Informer({
      ...informed,
      resyncMs,
      path: collectionPath(resource, watched),
      labelSelector: `${labels.managedBy}=podline`,
      onChange: (object, before) => {
        tell(object, object, before);
      },
      onGone: (object) => {
        tell(object, undefined);
      },
    });
  }

  /** Of all groups of a pipeline, as they were last seen. */
  of(place: Place): KubeObject[] {
    return this.#informer
      .all()
      .filter(({ metadata }) => metadata.namespace === place.namespace && metadata.labels?.[labels.pipeline] === place.name);
  }

  /** Goes on until `close()`. Nobody waits for it: without it, mending takes longer. */
  start(): void {
    void this.#informer.start();
  }

  close(): Promise<void> {
    return this.#informer.close();
  }
}
