/** Events of the cluster about a pipeline: what `kubectl describe` shows. One that cannot be written is logged, and nothing waits for it. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import type { KubeObject, KubeRest } from './kube-rest.js';
import { apiVersionOf, collectionPath } from './resources.js';
import type { PlannedEvent } from './status.js';

/** The longest that the API takes. */
const noteMax = 1_024;

export class EventWriter {
  constructor(private readonly parts: { rest: KubeRest; clock: Clock; logger: Logger }) {}

  async write({ metadata: { name, namespace, uid } }: KubeObject, { type, reason, note }: PlannedEvent): Promise<void> {
    const { rest, clock, logger } = this.parts;
    const body = {
      apiVersion: apiVersionOf('Event'),
      kind: 'Event',
      metadata: { name: `${name}.${randomBytes(8).toString('hex')}`, namespace },
      // Microseconds, which the API insists on.
      eventTime: clock.wall().replace(/\.(\d{3})Z$/, '.$1000Z'),
      reportingController: 'podline.dev/coordinator',
      reportingInstance: hostname(),
      action: 'Reconcile',
      type,
      reason,
      note: note.slice(0, noteMax),
      regarding: { apiVersion: apiVersionOf('Pipeline'), kind: 'Pipeline', name, namespace, uid },
    };
    await rest.request('POST', collectionPath('Event', namespace), { body }).catch((thrown: unknown) => {
      logger.warn({ pipeline: name, reason, err: String(thrown) }, 'an event could not be written');
    });
  }
}
