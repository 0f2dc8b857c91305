/** Cores of a line: how many stages that compute work at once. */
import type { LineState } from './types.js';

export const cpuBoundRuns = (state: LineState): number =>
  state.slots.filter((slot) => slot.phase === 'running' && state.graph.stages.get(slot.stage)?.bound !== 'io').length;
