/**
 * in: an event. out: whether the mark went up. Notices of completion were sent, or given up, of all events up to this one.
 * writes: the mark. events: none.
 */
import type { Changed } from '../journal.js';
import type { Transition } from '../transition.js';

export const notice = (transition: Transition, untilEventId: number): Changed => ({
  changed: transition.markNoticed(untilEventId),
});
