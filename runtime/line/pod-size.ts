/**
 * What a line's pod asks of its node: by the stages that may run at once, not by all that there are. Pure.
 *
 * A pod whose containers were the stages would ask for the sum of them all, for its whole life. A line has a few slots, and no more
 * stages run at once than slots, cores and the graph allow: the greatest need of such a set is the *peak*. The node's scheduler sees
 * the sum of the slots' requests, so they add up to the peak; each slot's limit is that of the greatest stage, since any
 * stage may be put into any slot.
 *
 * Invariants
 *  1. Each set of stages that the heart may run at once needs at most the peak. With one shard on a line the peak is at most the sum;
 *     with several (`residents`) one stage may run in several slots at once.
 *  2. The requests of the slots add up to the peak and what idle slots hold, the greatest first.
 */
import { parseBytes, parseQuantity } from '../config/units.js';
import type { Pipeline, ResolvedStage } from '../contracts/manifest.js';
import { inputStream } from '../contracts/block.js';

const mib = 2 ** 20;
/** Of a stage that does not say. */
export const defaultStageBytes = 512 * mib;
/** Of a slot that holds a warmed stage, or none: a shim with its runtime. */
export const idleSlotBytes = 64 * mib;
/** Sets that are looked at before the bound over all stages is taken instead: a graph of hundreds of branches has more than can be counted. */
const setsMax = 200_000;

type SizedStage = Pick<ResolvedStage, 'name' | 'after' | 'bound' | 'resources'>;
export interface SizedPipeline {
  stages: readonly SizedStage[];
  spec: Pick<Pipeline['spec'], 'residents' | 'streaming'>;
}

export interface Need {
  memoryBytes: number;
  /** Cores; stages that do not say ask for none. */
  cpu: number;
}

export interface PodSize {
  /** The set of stages of greatest memory that may run at once, the greatest first. */
  atOnce: string[];
  peak: Need;
  /** Of all stages together. */
  sum: Need;
  /** Of one slot each: what the scheduler is asked for. They add up to the peak, and idle slots. */
  slots: Need[];
  /** Of any slot: the greatest stage. */
  slotLimitBytes: number;
}

const memoryOf = ({ resources }: SizedStage): number =>
  resources.memory === undefined ? defaultStageBytes : parseBytes(resources.memory);
const cpuOf = ({ resources }: SizedStage): number => (resources.cpu === undefined ? 0 : parseQuantity(resources.cpu));

/** `slots` and `cores` of a line, as the driver gives them. */
export function sizePod(pipeline: SizedPipeline, slots: number, cores: number): PodSize {
  const { stages } = pipeline;
  const set = greatestSet(pipeline, memoryOf, slots, cores);
  const cpu = sumOf(greatestSet(pipeline, cpuOf, slots, cores), cpuOf);
  return {
    atOnce: set.map(({ name }) => name),
    peak: { memoryBytes: sumOf(set, memoryOf), cpu },
    sum: { memoryBytes: sumOf(stages, memoryOf), cpu: sumOf(stages, cpuOf) },
    slots: Array.from({ length: slots }, (_, slot) => ({
      memoryBytes: set[slot] === undefined ? idleSlotBytes : memoryOf(set[slot]),
      cpu: cpu / slots,
    })),
    slotLimitBytes: Math.max(0, ...stages.map(memoryOf)),
  };
}

/**
 * What each slot needs while it holds the stage named, nothing where that is undefined: of those held that may run at once the set of the
 * greatest need. The others, and names that the pipeline has not, are idle. Same length and order as `held`.
 */
export function sizeSlots(pipeline: SizedPipeline, held: readonly (string | undefined)[], cores: number): Need[] {
  const stages = held.flatMap((name) => pipeline.stages.find((stage) => stage.name === name) ?? []);
  const set = greatestSet(pipeline, memoryOf, held.length, cores, stages);
  const cpu = sumOf(greatestSet(pipeline, cpuOf, held.length, cores, stages), cpuOf);
  return held.map((name) => {
    const index = set.findIndex((stage) => stage.name === name);
    const [stage] = index < 0 ? [] : set.splice(index, 1);
    return { memoryBytes: stage === undefined ? idleSlotBytes : memoryOf(stage), cpu: cpu / held.length };
  });
}

const sumOf = (stages: readonly SizedStage[], of: (stage: SizedStage) => number): number =>
  stages.reduce((sum, stage) => sum + of(stage), 0);

/** The stages of greatest weight that may run at once, the heaviest first. `held`: only these, each as often as it stands there. */
function greatestSet(
  { stages, spec }: SizedPipeline,
  weight: (stage: SizedStage) => number,
  slots: number,
  cores: number,
  held?: readonly SizedStage[],
): SizedStage[] {
  const candidates = held === undefined ? stages : spec.residents === 1 ? [...new Set(held)] : held;
  const sorted = [...candidates].sort((a, b) => weight(b) - weight(a));
  const cpuMax = Math.max(1, Math.floor(cores));
  if (spec.residents === 1 && spec.streaming === 'off')
    return greatestOfOneShard(sorted, weight, slots, cpuMax, independentIn(stages)) ?? sorted.slice(0, slots);
  // A stage that begins on the first blocks of the one before it runs beside it, and with several shards on a line a stage runs in
  // several slots. Then nothing but slots and cores is in the way, and taking the heaviest first is the best.
  const copiesMax = spec.residents === 1 || held !== undefined ? 1 : slots;
  const set: SizedStage[] = [];
  let cpuFree = cpuMax;
  for (const stage of sorted) {
    let copies = Math.min(copiesMax, slots - set.length, stage.bound === 'cpu' ? cpuFree : slots);
    for (; copies > 0; copies -= 1) {
      set.push(stage);
      if (stage.bound === 'cpu') cpuFree -= 1;
    }
  }
  return set;
}

/** Whether of two stages neither waits for the other. */
function independentIn(stages: readonly SizedStage[]): (a: SizedStage, b: SizedStage) => boolean {
  const known = new Map<string, Set<string>>();
  const byName = new Map(stages.map((stage) => [stage.name, stage]));
  const before = (name: string): Set<string> => {
    let found = known.get(name);
    if (found !== undefined) return found;
    found = new Set<string>();
    known.set(name, found);
    for (const stream of byName.get(name)?.after ?? []) {
      if (stream === inputStream) continue;
      found.add(stream);
      for (const further of before(stream)) found.add(further);
    }
    return found;
  };
  return (a, b) => !before(a.name).has(b.name) && !before(b.name).has(a.name);
}

/** By branch and bound; `undefined` where the graph has more sets than can be looked at. */
function greatestOfOneShard(
  sorted: readonly SizedStage[],
  weight: (stage: SizedStage) => number,
  slots: number,
  cpuMax: number,
  independent: (a: SizedStage, b: SizedStage) => boolean,
): SizedStage[] | undefined {
  let best: SizedStage[] = [];
  let bestWeight = -1;
  let looked = 0;
  const grow = (set: readonly SizedStage[], from: number, total: number, cpuBound: number): void => {
    looked += 1;
    if (total > bestWeight) [best, bestWeight] = [[...set], total];
    const free = slots - set.length;
    for (let index = from; index < sorted.length && free > 0 && looked <= setsMax; index += 1) {
      // Those behind are lighter: what could still come is at most this.
      const possible = sumOf(sorted.slice(index, index + free), weight);
      if (total + possible <= bestWeight) return;
      const stage = sorted[index];
      if (stage === undefined || (stage.bound === 'cpu' && cpuBound === cpuMax)) continue;
      if (!set.every((other) => independent(stage, other))) continue;
      grow([...set, stage], index + 1, total + weight(stage), cpuBound + (stage.bound === 'cpu' ? 1 : 0));
    }
  };
  grow([], 0, 0, 0);
  return looked > setsMax ? undefined : best;
}
