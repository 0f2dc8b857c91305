/**
 * What a laptop has for lines: its cores and its memory, shared by all pipelines.
 *
 * A line counts with what its manifest says that it takes (`spec.resources`), and never with more than the machine has: a manifest that
 * was written for a cluster runs here too, on one line. Where it says nothing, lines take what is there and are not bounded by
 * the machine; only a resource that the pipeline's own quota names must have a number then, and gets an estimate. Devices
 * count where that quota says how many there are.
 */
import { totalmem } from 'node:os';
import type { Amount, Capacity, LineCost, Quota } from '../contracts/capacity.js';
import type { Pipeline } from '../contracts/manifest.js';
import { slotsOf } from '../line/concurrency.js';
import { parseAmount, parseAmounts } from '../line/quantity.js';

export interface Machine {
  cores: number;
  memoryBytes: number;
}

/** Of a stage that does not say what it takes. */
const stageMemory = parseAmount('512Mi');

export function machineCapacity({ cores, memoryBytes }: Machine): Capacity {
  const there = parseAmounts({ cpu: cores, memory: memoryBytes });
  const quota: Quota = { name: 'this machine', hard: there, usedByOthers: {} };
  return {
    costOf: (pipeline) => costOf(pipeline, cores, there),
    quotas: () => [quota],
    subscribe: () => () => undefined,
  };
}

function costOf(pipeline: Pipeline, cores: number, there: Readonly<Record<string, Amount>>): LineCost {
  const { resources, quota } = pipeline.spec;
  const devices = Object.entries(parseAmounts(resources.devices ?? {})).filter(([name]) => quota[name] !== undefined);
  const perLine: Record<string, Amount> = Object.fromEntries(devices);
  if (resources.cpu !== undefined) perLine['cpu'] = parseAmount(resources.cpu);
  else if (quota['cpu'] !== undefined) perLine['cpu'] = parseAmount(cores);
  if (resources.memory !== undefined) perLine['memory'] = parseAmount(resources.memory);
  else if (quota['memory'] !== undefined) perLine['memory'] = memoryOf(pipeline, cores);
  for (const [name, amount] of Object.entries(there)) {
    const taken = perLine[name];
    if (taken !== undefined && taken > amount) perLine[name] = amount;
  }
  return { perLine, refusals: [] };
}

/** The scratch, and as many of the greatest stages as there are slots. */
function memoryOf(pipeline: Pipeline, cores: number): Amount {
  const { scratch } = pipeline.spec;
  const stages = pipeline.stages.map(({ resources }) =>
    resources.memory === undefined ? stageMemory : parseAmount(resources.memory),
  );
  const greatest = stages.toSorted((a, b) => (a < b ? 1 : -1)).slice(0, slotsOf(pipeline, cores));
  return greatest.reduce((sum, bytes) => sum + bytes, scratch.medium === 'Memory' ? parseAmount(scratch.size) : 0n);
}

/** What a container is given counts where there is one: 0 and absurdly much mean that there is none. */
export const memoryOfMachine = (): number => {
  const constrained = process.constrainedMemory();
  return constrained > 0 && constrained < totalmem() ? constrained : totalmem();
};
