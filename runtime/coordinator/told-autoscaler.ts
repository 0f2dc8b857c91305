/**
 * Tells an autoscaler the ceilings until it has heard them: whoever says them never waits for it.
 *
 * Invariants
 *  1. Of a workload one telling is under way at a time, and it is of the ceiling that was the newest when it began: an older one never
 *     arrives behind a newer one.
 *  2. After a failure it waits, longer each time, up to `pauses.maxMs`; a newer ceiling does not shorten that wait.
 *  3. At most `atOnceMax` workloads are told at once; the others wait for one of these to be done.
 */
import type { Autoscaler, Ceiling } from '../contracts/capacity.js';
import { PodlineError } from '../contracts/errors.js';
import { backoffMs } from '../line/backoff.js';
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';

/** Carries one ceiling there, once. */
export interface Messenger {
  readonly kind: string;
  /** Resolves when it was taken; rejects when it was not, or the signal broke it off. */
  tell(ceiling: Ceiling, signal: AbortSignal): Promise<void>;
}

export interface ToldAutoscalerParts {
  messenger: Messenger;
  clock: Clock;
  logger: Logger;
}

const pauses = { initialMs: 1_000, factor: 2, maxMs: 5 * 60_000 };
const atOnceMax = 8;

interface Told {
  /** What is to be told; undefined when it was. */
  ceiling: Ceiling | undefined;
  failures: number;
  /** Being told, or waiting after a failure. */
  isBusy: boolean;
}

export function openToldAutoscaler({ messenger, clock, logger }: ToldAutoscalerParts): Autoscaler {
  const ending = new AbortController();
  const workloads = new Map<string, Told>();
  const underWay = new Set<Promise<void>>();
  const pausing = new Map<Told, () => void>();

  const next = (): void => {
    for (const told of workloads.values()) {
      if (ending.signal.aborted || underWay.size >= atOnceMax) return;
      if (told.isBusy || told.ceiling === undefined) continue;
      told.isBusy = true;
      const telling = tellOnce(told, told.ceiling).finally(() => {
        underWay.delete(telling);
        next();
      });
      underWay.add(telling);
    }
  };

  const tellOnce = async (told: Told, ceiling: Ceiling): Promise<void> => {
    const { pipeline, group, linesMax } = ceiling;
    try {
      await messenger.tell(ceiling, ending.signal);
      logger.info({ pipeline, group, linesMax, by: messenger.kind }, 'the autoscaler was told the ceiling');
      if (told.ceiling === ceiling) told.ceiling = undefined;
      told.failures = 0;
      told.isBusy = false;
    } catch (thrown) {
      if (ending.signal.aborted) return;
      told.failures += 1;
      const againMs = backoffMs(pauses, told.failures);
      const { code, message, place, hint } = PodlineError.from(thrown);
      logger.error(
        { pipeline, group, linesMax, code, place, hint, err: message, againMs },
        'the autoscaler could not be told the ceiling; it is tried again',
      );
      const callOff = clock.after(againMs, () => {
        pausing.delete(told);
        told.isBusy = false;
        next();
      });
      pausing.set(told, callOff);
    }
  };

  const drop = (told: Told): void => {
    told.ceiling = undefined;
    pausing.get(told)?.();
    if (pausing.delete(told)) told.isBusy = false;
  };

  return {
    kind: messenger.kind,
    tell: async (ceiling) => {
      const told = workloads.get(ceiling.workload) ?? { ceiling, failures: 0, isBusy: false };
      told.ceiling = ceiling;
      workloads.set(ceiling.workload, told);
      next();
    },
    leave: (workload) => {
      const told = workloads.get(workload);
      if (told !== undefined) drop(told);
    },
    close: async () => {
      ending.abort();
      for (const told of workloads.values()) drop(told);
      await Promise.all(underWay);
    },
  };
}
