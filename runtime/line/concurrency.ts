/**
 * How many slots a line gets, and how many shards may be on it at once, where the manifest leaves it open.
 *
 * A cpu-bound stage keeps a core busy, so no more of them run at once than there are cores. An io-bound one waits most of the
 * time; so many of them share a core. One slot more is for the stage that is warmed while the others work.
 */
import type { Pipeline, PipelineSpec, ResolvedStage } from '../contracts/manifest.js';

export const slotsMax = 128;
export const residentsMax = 256;
/** Runs of io-bound stages for each core: they wait about seven eighths of the time. An assumption, not a measurement. */
export const ioRunsPerCore = 8;
/** Shards that share the price of a swap where not all stages fit into the slots. Memory may admit fewer. */
const waveResidents = 16;
/** Shards that flow through slots which hold all stages: one works in each, the others wait for the coordinator or the disk. */
const flowResidents = 8;

export interface Concurrency {
  /** Stages that may work at once. */
  working: number;
  slots: number;
}

/** Slots for a pipeline on a machine with this many cores. */
export function planSlots(stages: readonly Pick<ResolvedStage, 'bound'>[], cores: number): Concurrency {
  const cpuBound = stages.filter((stage) => stage.bound === 'cpu').length;
  const ioBound = stages.length - cpuBound;
  const wholeCores = Math.max(1, Math.floor(cores));
  const working = Math.max(1, Math.min(slotsMax, Math.min(cpuBound, wholeCores) + Math.min(ioBound, wholeCores * ioRunsPerCore)));
  return { working, slots: Math.min(slotsMax, Math.max(1, stages.length), working + 1) };
}

/** The slots of a pipeline's lines: as its manifest says, or planned. */
export const slotsOf = (pipeline: Pick<Pipeline, 'stages'> & { spec: Pick<PipelineSpec, 'slots'> }, cores: number): number =>
  pipeline.spec.slots === 'auto' ? planSlots(pipeline.stages, cores).slots : pipeline.spec.slots;

/** The shards on a line at once: as the manifest says, or planned. */
export const residentsOf = (residents: PipelineSpec['residents'], stages: number, slots: number): number =>
  residents === 'auto' ? planResidents(stages, slots) : residents;

/** Shards on a line at once. Where all stages stay in slots, enough to keep each slot busy while others load and deliver; else enough to share a swap. */
export function planResidents(stages: number, slots: number): number {
  return Math.min(residentsMax, Math.max(stages <= slots ? flowResidents : waveResidents, 2 * slots));
}
