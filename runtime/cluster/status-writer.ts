/** Writes the status of pipelines where it says something new, and the events between two of them. */
import type { PipelineStatus } from '../contracts/pipeline-status.js';
import { canonicalJson } from '../line/lineage.js';
import { EventWriter } from './event-writer.js';
import { patchType, type KubeObject } from './kube-rest.js';
import { fieldManager } from './object-writer.js';
import { observe, type Looked } from './observe.js';
import type { ReconcilerOptions } from './reconciler-options.js';
import { objectPath } from './resources.js';
import { eventsBetween, planStatus, statusOf } from './status.js';

export interface Seen extends Looked {
  /** The coordinator has just begun: lines that were ready count as such until they had time to say hello. */
  isNew: boolean;
}

export class StatusWriter {
  /** The status that was last written. */
  readonly #said = new Map<string, { uid: string; status: PipelineStatus }>();
  readonly #events: EventWriter;

  constructor(private readonly options: Pick<ReconcilerOptions, 'rest' | 'desk' | 'pods' | 'workload' | 'clock' | 'logger'>) {
    this.#events = new EventWriter(options);
  }

  /** Throws KubeFailure. */
  async write(key: string, resource: KubeObject, seen: Seen): Promise<void> {
    const { rest, clock } = this.options;
    // Our own last word may be newer than what the informer has seen.
    const uid = resource.metadata.uid ?? '';
    const said = this.#said.get(key);
    const before = said?.uid === uid ? said.status : statusOf(resource);
    const heardBefore = seen.isNew ? before?.readyLines : undefined;
    const observed = await observe(this.options, resource, { ...seen, heardBefore });
    const after = planStatus(observed, before, clock.wall());
    if (before !== undefined && canonicalJson(before) === canonicalJson(after)) return;
    await rest.request('PATCH', `${objectPath('Pipeline', resource.metadata)}/status`, {
      body: { status: absentAsNull(before, after) },
      contentType: patchType.merge,
      query: { fieldManager },
    });
    this.#said.set(key, { uid, status: after });
    for (const event of eventsBetween(before, after)) await this.#events.write(resource, event);
  }

  forget(key: string): void {
    this.#said.delete(key);
  }
}

/** A merge patch takes a field away by null. */
const absentAsNull = (before: object | undefined, after: object): object => ({
  ...Object.fromEntries(Object.keys(before ?? {}).map((name) => [name, null])),
  ...after,
});
