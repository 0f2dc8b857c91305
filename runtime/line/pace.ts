/**
 * How fast submitters may go: how many shards a batch holds, whether they pause, and for how long. Pure.
 *
 * A shallow queue wants more: lines would run out of work, so batches double. A deep one, or cpu or memory near the quota, wants less:
 * batches halve, and at the upper marks submitters pause (429 with Retry-After, or a consumer that is paused) until the load is
 * below the lower marks. Between the marks nothing changes: that is what keeps the pace from flapping.
 *
 * Invariants
 *  1. `batchMin` ≤ batch ≤ `batchMax`.
 *  2. Paused begins only at an upper mark and ends only when every measure is below its lower one.
 *  3. A batch grows only when the queue is shallow and neither cpu nor memory is high.
 *  4. Where the queue is full, the pace is paused.
 */
export interface PaceRules {
  batchMin: number;
  batchMax: number;
  /** Below this many waiting shards batches grow. */
  shallow: number;
  /** From this many on they shrink. */
  deep: number;
  /** At this many submitters pause; they go on below `deep`. */
  full: number;
}

/** Parts of the quota in use at which batches shrink, submitters pause, and go on. */
export const loadMarks = { high: 0.85, pause: 0.95, resume: 0.8 };
/** Retry-After, in seconds. */
export const retryAfterMaxS = 300;

export interface PaceState {
  batch: number;
  paused: boolean;
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

export const initialPace = (rules: PaceRules): PaceState => ({ batch: rules.batchMin, paused: false });

/** One look. */
export function planPace(before: PaceState, input: PaceInput, rules: PaceRules): Pace {
  const { queued, cpu = 0, memory = 0 } = input;
  const load = Math.max(cpu, memory);
  const batch = clamp(before.batch, rules);
  const tooMuch = queued >= rules.full || load >= loadMarks.pause;
  const calm = queued < rules.deep && load < loadMarks.resume;
  if (tooMuch || (before.paused && !calm)) {
    const retryAfterS = retryAfter(input, rules);
    const reason = pauseReason(input, rules, load);
    const why = `paused: ${reason}; ${drainWords(input, rules)}, come back in ${String(retryAfterS)} s`;
    return { batch: rules.batchMin, paused: true, retryAfterS, why };
  }
  if (queued >= rules.deep || load >= loadMarks.high) {
    const less = clamp(Math.floor(batch / 2), rules);
    const reason =
      queued >= rules.deep ? depth(queued, 'of', rules.deep, 'that are deep') : loadWords(input, 'above', loadMarks.high);
    return { batch: less, paused: false, why: `batches of ${String(less)}, halved from ${String(batch)}: ${reason}` };
  }
  if (queued < rules.shallow && load < loadMarks.resume) {
    const more = clamp(batch * 2, rules);
    const reason = depth(queued, 'below', rules.shallow, 'that are shallow');
    return {
      batch: more,
      paused: false,
      why: `batches of ${String(more)}, ${more > batch ? 'doubled' : 'the largest'}: ${reason}`,
    };
  }
  const between = `${String(queued)} waiting shards are between ${String(rules.shallow)} and ${String(rules.deep)}`;
  return { batch, paused: false, why: `batches of ${String(batch)}, as before: ${between}` };
}

const clamp = (batch: number, { batchMin, batchMax }: PaceRules): number => Math.min(Math.max(batch, batchMin), batchMax);

/** Until the queue is below `deep` at the present rate; where nothing ends, the longest wait. */
function retryAfter({ queued, drainPerSecond }: PaceInput, rules: PaceRules): number {
  const over = queued - rules.deep + 1;
  if (over <= 0) return 1;
  if (drainPerSecond <= 0) return retryAfterMaxS;
  return Math.min(retryAfterMaxS, Math.max(1, Math.ceil(over / drainPerSecond)));
}

const percent = (part: number): string => `${String(Math.round(part * 100))} %`;

function loadWords({ cpu = 0, memory = 0 }: PaceInput, relation: string, mark: number): string {
  const [what, part] = cpu >= memory ? ['cpu', cpu] : ['memory', memory];
  return `${what} at ${percent(part)} of the quota is ${relation} ${percent(mark)}`;
}

const depth = (queued: number, relation: string, mark: number, which: string): string =>
  `${String(queued)} waiting shards, ${relation} ${String(mark)} ${which}`;

function pauseReason(input: PaceInput, rules: PaceRules, load: number): string {
  if (input.queued >= rules.full) return `${String(input.queued)} waiting shards fill the queue of ${String(rules.full)}`;
  if (load >= loadMarks.pause) return loadWords(input, 'above', loadMarks.pause);
  if (input.queued >= rules.deep) return `${String(input.queued)} waiting shards are not below ${String(rules.deep)} yet`;
  return loadWords(input, 'not below', loadMarks.resume);
}

function drainWords({ queued, drainPerSecond }: PaceInput, rules: PaceRules): string {
  const over = Math.max(0, queued - rules.deep + 1);
  return `${String(over)} shards over at ${drainPerSecond.toFixed(1)} a second`;
}
