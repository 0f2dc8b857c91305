/** What a coordinator is made of. */
import type { Addresses, Allowed } from '../contracts/access.js';
import type { Autoscaler, Capacity } from '../contracts/capacity.js';
import type { LineDriver } from '../contracts/driver.js';
import type { limits } from '../contracts/limits.js';
import type { CoordinatorMetrics, Tracing } from '../contracts/telemetry.js';
import type { Journal } from '../journal/journal.js';
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';

export type CoordinatorLimits = { [name in keyof typeof limits]: number };

export interface CoordinatorOptions {
  journal: Journal;
  /** Without one, lines bring themselves up and swaps are refused. */
  driver?: LineDriver | undefined;
  /** What there is for lines; without it, nothing bounds them. */
  capacity?: Capacity | undefined;
  /** Scales lines in the place of the coordinator, up to the ceilings that it is told. */
  autoscaler?: Autoscaler | undefined;
  /** Of a line, where its pipeline does not say. */
  cores?: number | undefined;
  clock?: Clock | undefined;
  logger?: Logger | undefined;
  metrics?: CoordinatorMetrics | undefined;
  tracing?: Tracing | undefined;
  limits?: Partial<CoordinatorLimits> | undefined;
  /** Where sources and results of shards may lie; everywhere without it. */
  allowed?: Allowed | undefined;
  /** Where callbacks of submissions may lead to; nowhere without it. */
  callbacks?: Addresses | undefined;
  /** It begins as a standby; `lead` makes it the leader. */
  standby?: boolean | undefined;
}
