/**
 * How fast submitters may go: how many shards a batch holds, whether they pause, and for how long. Pure.
 *
 * A shallow queue wants more: lines would run out of work, so batches double. A deep one wants less: batches halve, and a full one takes
 * nothing (429 with Retry-After) until it is below `deep` again. Cpu or memory near the quota slow submitters down too, but only
 * while enough waits: lines that work at full load are what they are there for, as long as nothing piles up. Who can wait elsewhere,
 * as a consumer of a broker can, pauses then. Between the marks nothing changes: that is what keeps the pace from flapping.
 *
 * Invariants
 *  1. `batchMin` ≤ batch ≤ `batchMax`.
 *  2. A pause begins only at an upper mark and ends only when the queue and the load are below the lower ones.
 *  3. A batch grows only when the queue is shallow and neither cpu nor memory is high.
 *  4. Where the queue is full, nothing is taken; because of the load alone, submissions are never refused.
 */
export interface PaceRules {
  batchMin: number;
  batchMax: number;
  /** Below this many waiting shards batches grow. */
  shallow: number;
  /** From this many on they shrink. */
  deep: number;
  /** At this many nothing more is taken, until they are fewer than `deep`. */
  full: number;
}

/** Parts of the quota in use at which batches shrink, consumers pause, and go on. */
export const loadMarks = { high: 0.85, pause: 0.95, resume: 0.8 };
/** Retry-After, in seconds. */
export const retryAfterMaxS = 60;

/** `load`: whoever can wait elsewhere does. `full`: submissions are refused. */
export type Pause = 'none' | 'load' | 'full';

export interface PaceState {
  batch: number;
  pause: Pause;
}

export interface PaceInput {
  queued: number;
  /** Part of the quota that is in use, 0 to 1 and above; absent where it is not known. */
  cpu?: number | undefined;
  memory?: number | undefined;
  /** Shards that end in a second, at present. */
  drainPerSecond: number;
}

export interface Pace extends PaceState {
  /** While paused: after how many seconds to come back, at least 1. */
  retryAfterS?: number | undefined;
  /** A sentence, with the numbers. */
  why: string;
}

/** In the middle, counted in doublings: as far from the one end as from the other. */
export const initialPace = ({ batchMin, batchMax }: PaceRules): PaceState => ({
  batch: Math.round(Math.sqrt(batchMin * batchMax)),
  pause: 'none',
});

/** One look. */
export function planPace(before: PaceState, input: PaceInput, rules: PaceRules): Pace {
  const { queued, cpu = 0, memory = 0 } = input;
  const load = Math.max(cpu, memory);
  const batch = clamp(before.batch, rules);
  const enough = queued >= rules.shallow;
  if (queued >= rules.full || (before.pause === 'full' && queued >= rules.deep)) {
    const reason =
      queued >= rules.full
        ? `${String(queued)} waiting shards fill the queue of ${String(rules.full)}`
        : `${String(queued)} waiting shards are not below ${String(rules.deep)} yet`;
    return paused('full', reason, input, rules);
  }
  if (enough && load >= loadMarks.pause) return paused('load', loadWords(input, 'above', loadMarks.pause), input, rules);
  if (enough && before.pause !== 'none' && load >= loadMarks.resume)
    return paused('load', loadWords(input, 'not below', loadMarks.resume), input, rules);
  if (queued >= rules.deep || (enough && load >= loadMarks.high)) {
    const less = clamp(Math.floor(batch / 2), rules);
    const reason =
      queued >= rules.deep ? depth(queued, 'of', rules.deep, 'that are deep') : loadWords(input, 'above', loadMarks.high);
    return { batch: less, pause: 'none', why: `batches of ${String(less)}, halved from ${String(batch)}: ${reason}` };
  }
  if (!enough && load < loadMarks.resume) {
    const more = clamp(batch * 2, rules);
    const reason = depth(queued, 'below', rules.shallow, 'that are shallow');
    return {
      batch: more,
      pause: 'none',
      why: `batches of ${String(more)}, ${more > batch ? `doubled from ${String(batch)}` : 'the largest'}: ${reason}`,
    };
  }
  const between = enough
    ? `${String(queued)} waiting shards are between ${String(rules.shallow)} and ${String(rules.deep)}`
    : loadWords(input, 'not below', loadMarks.resume);
  return { batch, pause: 'none', why: `batches of ${String(batch)}, as before: ${between}` };
}

function paused(pause: Pause, reason: string, input: PaceInput, rules: PaceRules): Pace {
  const retryAfterS = retryAfter(input, rules);
  const over = Math.max(0, input.queued - rules.deep + 1);
  const rate = `${String(over)} shards over at ${input.drainPerSecond.toFixed(1)} a second`;
  return { batch: rules.batchMin, pause, retryAfterS, why: `paused: ${reason}; ${rate}, come back in ${String(retryAfterS)} s` };
}

const clamp = (batch: number, { batchMin, batchMax }: PaceRules): number => Math.min(Math.max(batch, batchMin), batchMax);

/** Seconds until the queue is below `deep` at the present rate; where nothing ends, the longest wait. */
export function retryAfter({ queued, drainPerSecond }: PaceInput, rules: PaceRules): number {
  const over = queued - rules.deep + 1;
  if (over <= 0) return 1;
  if (drainPerSecond <= 0) return retryAfterMaxS;
  return Math.min(retryAfterMaxS, Math.max(1, Math.ceil(over / drainPerSecond)));
}

/** Of one group of a stream, at most: a load that does not fall slows a stream down, and never stops it. */
export const holdMaxMs = 30_000;

/**
 * How long a group of a stream, held back for `heldMs` so far, is to wait before the pace is looked at again, in ms; 0: it goes in now. A full queue
 * does not hold it: that is answered, with the time to come back.
 */
export function planHold({ pause, retryAfterS = 1 }: Pick<Pace, 'pause' | 'retryAfterS'>, heldMs: number): number {
  return pause === 'load' ? Math.max(0, Math.min(retryAfterS * 1_000, holdMaxMs - heldMs)) : 0;
}

const percent = (part: number): string => `${String(Math.round(part * 100))} %`;

function loadWords({ cpu = 0, memory = 0 }: PaceInput, relation: string, mark: number): string {
  const [what, part] = cpu >= memory ? ['cpu', cpu] : ['memory', memory];
  return `${what} at ${percent(part)} of the quota is ${relation} ${percent(mark)}`;
}

const depth = (queued: number, relation: string, mark: number, which: string): string =>
  `${String(queued)} waiting shards, ${relation} ${String(mark)} ${which}`;
