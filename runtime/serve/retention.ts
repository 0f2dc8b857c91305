/** What the journal of a coordinator keeps, from its configuration. */
import { parseDurationMs } from '../config/units.js';
import { PodlineError } from '../contracts/errors.js';
import type { ServerConfig } from '../contracts/server-config.js';
import type { Retention } from '../journal/retention.js';

const ages = { doneFor: 'doneMs', failedFor: 'failedMs', eventsFor: 'eventsMs' } as const;
const [ageMinMs, ageMaxMs] = [1_000, 3_650 * 86_400_000];

/** As the journal takes it; what is not said is left out. Throws PDL_CONFIG_INVALID for an age that is out of bounds. */
export function retentionOf(config: ServerConfig['retention']): Partial<Retention> {
  const retention: Partial<Retention> = {};
  for (const name of ['doneMax', 'failedMax', 'eventsMax'] as const) {
    const max = config[name];
    if (max !== undefined) retention[name] = max;
  }
  for (const [name, to] of Object.entries(ages) as [keyof typeof ages, (typeof ages)[keyof typeof ages]][]) {
    const text = config[name];
    if (text === undefined) continue;
    const ms = parseDurationMs(text);
    if (ms < ageMinMs || ms > ageMaxMs)
      throw new PodlineError('PDL_CONFIG_INVALID', `retention.${name}: \`${text}\` is out of bounds`, {
        place: `retention.${name}`,
        hint: 'Write a duration from 1s to 3650d.',
      });
    retention[to] = ms;
  }
  return retention;
}
