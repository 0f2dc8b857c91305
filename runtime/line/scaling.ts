/**
 * How many lines a group wants, and which ones go when it has too many. Pure.
 *
 * Up at once, because shards wait. Down late and in steps, because a line that comes back must load everything anew: only when
 * for `stabilizationMs` no more lines were wanted, and at most `downShare` of them in each `downEveryMs`. A ceiling that falls is
 * obeyed at once: the lines above it are drained.
 *
 * Invariants
 *  1. Never above the ceiling, never above `maxLines`; below `minLines` only where the ceiling is.
 *  2. Without a fall of the ceiling, the number falls only when no look within `stabilizationMs` wanted more than what is left.
 *  3. Zero only where `minLines` is 0 and nothing waits or runs.
 *  4. What is remembered is bounded: one entry for each of `windowParts` parts of the window.
 */
export interface ScalingRules {
  minLines: number;
  maxLines: number;
  /** Shards, waiting or in work, for which one line is wanted. */
  shardsPerLine: number;
  stabilizationMs: number;
  downShare: number;
  downEveryMs: number;
}

export interface Demand {
  queued: number;
  running: number;
}

export interface ScalingState {
  /** What is wanted at present, and what was decided. */
  lines: number;
  /** The most that was wanted in each part of the window, oldest first. */
  wanted: readonly { part: number; lines: number }[];
  lastDownMs: number;
}

export interface ScalePlan {
  state: ScalingState;
  lines: number;
  /** How many the demand alone asks for, at this look. */
  wants: number;
  /** A sentence. */
  why: string;
}

export const windowParts = 60;

/** So many are there, and were wanted until now: who decides for the first time does not know better. */
export const initialScaling = (lines: number, rules: ScalingRules, nowMs: number): ScalingState => ({
  lines,
  wanted: lines === 0 ? [] : remember([], lines, rules, nowMs),
  lastDownMs: Number.NEGATIVE_INFINITY,
});

/** How many lines the demand asks for, whatever is allowed. */
export function wantedLines({ queued, running }: Demand, { shardsPerLine, minLines, maxLines }: ScalingRules): number {
  return Math.min(Math.max(minLines, Math.ceil((queued + running) / shardsPerLine)), maxLines);
}

/** One look. `ceiling`: what quota and fair share allow now. */
export function planScale(before: ScalingState, demand: Demand, ceiling: number, rules: ScalingRules, nowMs: number): ScalePlan {
  const wants = wantedLines(demand, rules);
  const wanted = remember(before.wanted, wants, rules, nowMs);
  const highest = Math.max(...wanted.map(({ lines }) => lines));
  const demandWords = `${String(demand.queued)} waiting and ${String(demand.running)} running shards over ${String(rules.shardsPerLine)} a line want ${String(wants)}`;

  if (before.lines > ceiling) {
    const lines = Math.max(0, ceiling);
    const why = `${String(lines)} lines: W_max fell to ${String(ceiling)}, the lines above it are drained`;
    return { state: { lines, wanted, lastDownMs: nowMs }, lines, wants, why };
  }
  if (wants >= before.lines) {
    const lines = Math.max(0, Math.min(wants, ceiling));
    const bound = wants > ceiling ? `; W_max is ${String(ceiling)}` : '';
    return { state: { ...before, lines, wanted }, lines, wants, why: `${String(lines)} lines: ${demandWords}${bound}` };
  }
  const hold = (reason: string): ScalePlan => ({
    state: { ...before, wanted },
    lines: before.lines,
    wants,
    why: `${String(before.lines)} lines: ${demandWords}; ${reason}`,
  });
  if (highest >= before.lines) return hold(`${String(highest)} were wanted within the last ${seconds(rules.stabilizationMs)}`);
  if (nowMs - before.lastDownMs < rules.downEveryMs) return hold(`some went within the last ${seconds(rules.downEveryMs)}`);
  const lines = Math.max(highest, before.lines - Math.max(1, Math.floor(before.lines * rules.downShare)));
  return {
    state: { lines, wanted, lastDownMs: nowMs },
    lines,
    wants,
    why: `${String(lines)} lines, down from ${String(before.lines)}: ${demandWords}`,
  };
}

const seconds = (ms: number): string => `${String(ms / 1_000)} s`;

function remember(
  wanted: ScalingState['wanted'],
  lines: number,
  { stabilizationMs }: ScalingRules,
  nowMs: number,
): ScalingState['wanted'] {
  const partMs = Math.max(1, stabilizationMs / windowParts);
  const part = Math.floor(nowMs / partMs);
  // A part ends up to one part's length after its last look: it is kept that much longer rather than forgotten early.
  const recent = wanted.filter((seen) => seen.part >= part - windowParts);
  const last = recent.at(-1);
  if (last?.part === part) return [...recent.slice(0, -1), { part, lines: Math.max(last.lines, lines) }];
  return [...recent, { part, lines }];
}

/** A line that may go. */
export interface Drainable {
  line: string;
  /** Shards that it holds. */
  shards: number;
  /** Stages that its shards have behind them: what another line would have to restore, or do again. */
  stagesDone: number;
  /** Of a numbered workload. */
  ordinal: number;
  draining: boolean;
}

/**
 * Which `count` lines go: first those that go already, then idle ones, then those with the least work to lose, the newest first.
 * `highestFirst`: the workload can only lose its highest numbers.
 */
export function pickDrains(lines: readonly Drainable[], count: number, highestFirst = false): string[] {
  const byCost = (a: Drainable, b: Drainable): number =>
    Number(b.draining) - Number(a.draining) || a.shards - b.shards || a.stagesDone - b.stagesDone || b.ordinal - a.ordinal;
  const order = highestFirst ? (a: Drainable, b: Drainable) => b.ordinal - a.ordinal : byCost;
  return [...lines]
    .sort(order)
    .slice(0, Math.max(0, count))
    .map(({ line }) => line);
}
