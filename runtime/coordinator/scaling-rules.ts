/** A manifest's scaling in numbers: how many lines of a group are wanted, and by whom. Pure. */
import { parseDurationMs } from '../config/units.js';
import type { Quota, Wanted } from '../contracts/capacity.js';
import { limits } from '../contracts/limits.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { LineView } from '../contracts/views.js';
import { residentsOf, slotsOf } from '../line/concurrency.js';
import { defaultGroup, groupNames } from '../line/groups.js';
import { parseAmounts } from '../line/quantity.js';
import type { Drainable, ScalingRules } from '../line/scaling.js';

/** The pipeline's own. */
export function ownQuota({ spec }: Pipeline): Quota | undefined {
  if (Object.keys(spec.quota).length === 0) return undefined;
  return { name: 'the pipeline’s quota', hard: parseAmounts(spec.quota), usedByOthers: {} };
}

/** Shards for which one line is wanted: as many as it holds at once, where nothing else is said. */
export function shardsPerLineOf(pipeline: Pipeline, cores: number): number {
  const { scaling, residents } = pipeline.spec;
  if (scaling.shardsPerLine !== 'auto') return scaling.shardsPerLine;
  return residentsOf(residents, pipeline.stages.length, slotsOf(pipeline, cores));
}

/** Of a group, by its manifest. */
export function rulesOf(pipeline: Pipeline, group: string, cores: number): ScalingRules {
  const { scaling, groups } = pipeline.spec;
  return {
    minLines: groups.find(({ name }) => name === group)?.minLines ?? scaling.minLines,
    maxLines: scaling.maxLines ?? limits.linesMax,
    shardsPerLine: shardsPerLineOf(pipeline, cores),
    stabilizationMs: parseDurationMs(scaling.stabilization),
    downShare: scaling.downShare,
    downEveryMs: parseDurationMs(scaling.downEvery),
  };
}

export interface Asked {
  pipeline: Pipeline;
  byDemand: ScalingRules;
  /** What becomes of the number that an autoscaler asks for. */
  asked: (lines: number) => number;
}

/** Of a group, by who says how many lines it is to have. */
export function rulesFor(wanted: Wanted, group: string, { pipeline, byDemand, asked }: Asked): ScalingRules {
  switch (wanted.by) {
    case 'demand':
      return byDemand;
    case 'number':
      // All of them stay where there is one group; among several they go where work is.
      return held(groupNames(pipeline.spec.groups).length === 1 ? wanted.lines : 0, wanted.lines);
    case 'group':
      return held(wanted.lines[group] ?? 0);
    case 'autoscaler':
      return group === defaultGroup ? held(asked(wanted.lines)) : byDemand;
  }
}

const held = (minLines: number, maxLines = minLines): ScalingRules => ({
  minLines,
  maxLines,
  shardsPerLine: 1,
  stabilizationMs: 0,
  downShare: 1,
  downEveryMs: 0,
});

/** The highest numbers, as far down as all of them are done. */
export function fromTheTop(lines: readonly Drainable[], isDone: (line: Drainable) => boolean): Drainable[] {
  const down = [...lines].sort((a, b) => b.ordinal - a.ordinal);
  const end = down.findIndex((line) => !isDone(line));
  return end < 0 ? down : down.slice(0, end);
}

/** What is known of a line that could be ended; `view` is absent until it said hello. `isGoing`: it is drained on the way down. */
export const drainableOf = (line: string, view: LineView | undefined, isGoing: boolean): Drainable => ({
  line,
  ordinal: Number(line.slice(line.lastIndexOf('-') + 1)) || 0,
  draining: isGoing || view?.state === 'draining',
  shards: view?.shards.length ?? 0,
  stagesDone: view?.shards.reduce((sum, shard) => sum + shard.stagesDone.length, 0) ?? 0,
});
