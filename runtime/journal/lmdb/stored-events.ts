/** Events as they are kept: some that came together, without what they share and without names of fields. */
import type { EventType, PodlineEvent } from '../../contracts/events.js';
import { decodeValue, encodeValue } from './layout.js';

/** Events of one value: a reader takes a page of about as many. */
export const eventsOfValue = 256;

/** What came at one moment of the journal's time. */
export interface EventsAt {
  ms: number;
  events: PodlineEvent[];
}

/** `pipeline` and `at`: null, or left out, where they are those of the event before. */
type StoredEvent = [
  type: EventType,
  shardId: string | null,
  data: PodlineEvent['data'],
  line?: string | null,
  pipeline?: string | null,
  at?: string | null,
];
type StoredEvents = [ms: number, firstId: number, events: StoredEvent[]];

/** Their ids go up by one. */
export function encodeEvents(ms: number, events: readonly PodlineEvent[]): string {
  let [before, at] = ['', ''];
  const stored = events.map((event): StoredEvent => {
    const { type, shardId = null, data, line = null, pipeline } = event;
    if (pipeline === before && event.at === at) return line === null ? [type, shardId, data] : [type, shardId, data, line];
    const row: StoredEvent = [
      type,
      shardId,
      data,
      line,
      pipeline === before ? null : pipeline,
      event.at === at ? null : event.at,
    ];
    before = pipeline;
    at = event.at;
    return row;
  });
  return encodeValue([ms, events[0]?.id ?? 0, stored] satisfies StoredEvents);
}

export function decodeEvents(value: string): EventsAt {
  const [ms, firstId, stored] = decodeValue<StoredEvents>(value);
  let [before, atBefore] = ['', ''];
  const events = stored.map(([type, shardId, data, line, pipeline, at], index): PodlineEvent => {
    before = pipeline ?? before;
    atBefore = at ?? atBefore;
    const event: PodlineEvent = { id: firstId + index, at: atBefore, type, pipeline: before, data };
    if (shardId !== null) event.shardId = shardId;
    if (line !== null && line !== undefined) event.line = line;
    return event;
  });
  return { ms, events };
}
