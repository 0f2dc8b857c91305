/**
 * One look at all pipelines: how many lines each of their groups should have under the quotas that they share, which lines are to
 * start and which are to drain. Pure; the coordinator's scaler and the simulation carry it out.
 *
 * Invariants
 *  1. What is started fits into every quota beside everything that is there, draining lines included: the lines of all pipelines are
 *     never raised above a quota, also while it shrinks.
 *  2. Lines above what may be there are drained at this very look; none is ended with work on it.
 *  3. Ceilings of all groups together fit into every quota: an autoscaler per group can follow them on its own.
 *  4. The same look again, after its orders were carried out, orders nothing.
 */
import type { Amounts, LineCost, Quota } from '../contracts/capacity.js';
import { shareLines, type Claimant, type Pool } from './fair-share.js';
import { addAmounts, timesAmounts } from './quantity.js';
import { planLinesMax, type LinesMax } from './quota.js';
import {
  initialScaling,
  pickDrains,
  planScale,
  wantedLines,
  type Demand,
  type Drainable,
  type ScalingRules,
  type ScalingState,
} from './scaling.js';

/** The lines of one group of one pipeline. */
export interface Workload {
  /** `workloadName` of the two. */
  name: string;
  pipeline: string;
  group: string;
  /** Of the pipeline among pipelines, and of the group among its groups. */
  weight: number;
  groupWeight: number;
  cost: LineCost;
  /** The pipeline's own. */
  quota: Quota | undefined;
  /** Of the pipeline, all groups together. */
  maxLines: number | undefined;
  /** So many were asked for, of all groups together. */
  fixed?: number | undefined;
  rules: ScalingRules;
  demand: Demand;
  /** Every line that is there or on its way, draining ones too. */
  lines: readonly Drainable[];
  /** It can lose only its lines of the highest numbers. */
  highestFirst?: boolean | undefined;
}

export interface WorkloadPlan extends LinesMax {
  workload: string;
  /** The most that it may have now, beside the others. */
  ceiling: number;
  /** How many it should have. */
  lines: number;
  why: string;
  /** To be started now. */
  starts: number;
  /** Lines that take nothing new from now on. */
  drains: string[];
}

export type FlowState = ReadonlyMap<string, ScalingState>;

export interface FlowPlan {
  state: FlowState;
  workloads: WorkloadPlan[];
}

export function planFlow(before: FlowState, workloads: readonly Workload[], shared: readonly Quota[], nowMs: number): FlowPlan {
  const pools = [
    ...shared.map(({ name, hard, usedByOthers }) => ({ name, free: minus(hard, usedByOthers) })),
    ...ownPools(workloads),
  ];
  const maxima = new Map(workloads.map((workload) => [workload.name, maximumOf(workload, shared)]));
  const scalingOf = (workload: Workload): ScalingState =>
    before.get(workload.name) ?? initialScaling(activeOf(workload).length, workload.rules, nowMs);
  const claimants = workloads.map((workload): Claimant => ({
    name: workload.name,
    weight: weightOf(workload, workloads),
    perLine: chargeOf(workload),
    wants: wantedLines(workload.demand, workload.rules),
    keeps: scalingOf(workload).lines,
    linesMax: maxima.get(workload.name)?.linesMax ?? 0,
  }));
  const shares = shareLines(claimants, pools);

  const state = new Map<string, ScalingState>();
  const plans = workloads.map((workload): WorkloadPlan => {
    const ceiling = shares.get(workload.name)?.ceiling ?? 0;
    const scale = planScale(scalingOf(workload), workload.demand, ceiling, workload.rules, nowMs);
    state.set(workload.name, scale.state);
    const active = activeOf(workload);
    const maximum = maxima.get(workload.name) ?? { linesMax: 0, because: '', terms: [] };
    return {
      ...maximum,
      workload: workload.name,
      ceiling,
      lines: scale.lines,
      why: scale.why,
      starts: 0,
      drains: pickDrains(active, active.length - scale.lines, workload.highestFirst),
    };
  });
  planStarts(plans, workloads, claimants, pools);
  return { state, workloads: plans };
}

/** What is missing is started as far as it fits beside all that is there. */
function planStarts(
  plans: readonly WorkloadPlan[],
  workloads: readonly Workload[],
  claimants: readonly Claimant[],
  pools: readonly Pool[],
): void {
  const missing = new Map(
    workloads.map((workload, index) => [workload.name, (plans[index]?.lines ?? 0) - activeOf(workload).length]),
  );
  let used: Amounts = {};
  workloads.forEach(({ lines }, index) => {
    used = addAmounts(used, timesAmounts(claimants[index]?.perLine ?? {}, lines.length));
  });
  const free = pools.map((pool) => ({ ...pool, free: minus(pool.free, used) }));
  const room = shareLines(
    claimants.map((claimant): Claimant => {
      const wants = Math.max(0, missing.get(claimant.name) ?? 0);
      return { ...claimant, wants, keeps: 0, linesMax: wants };
    }),
    free,
  );
  for (const plan of plans) plan.starts = room.get(plan.workload)?.lines ?? 0;
}

const activeOf = ({ lines }: Workload): Drainable[] => lines.filter(({ draining }) => !draining);

const minus = (left: Amounts, right: Amounts): Amounts =>
  Object.fromEntries(Object.entries(left).map(([resource, amount]) => [resource, amount - (right[resource] ?? 0n)]));

function maximumOf({ cost, quota, maxLines }: Workload, shared: readonly Quota[]): LinesMax {
  const { perLine, refusals } = cost;
  return planLinesMax({ perLine, quotas: quota === undefined ? shared : [...shared, quota], maxLines, refusals });
}

/** A pipeline's weight is divided among its groups that want lines. */
function weightOf(workload: Workload, workloads: readonly Workload[]): number {
  const hungry = workloads.filter(
    (other) => other.pipeline === workload.pipeline && (other === workload || wantedLines(other.demand, other.rules) > 0),
  );
  return (workload.weight * workload.groupWeight) / hungry.reduce((sum, other) => sum + other.groupWeight, 0);
}

/** A pipeline's own bounds are pools of resources that only its lines take. */
const own = (pipeline: string, resource: string): string => `${pipeline}\0${resource}`;
const ownLines = '\0lines';
const linesInAll = ({ maxLines, fixed }: Workload): number | undefined =>
  maxLines === undefined || fixed === undefined ? (maxLines ?? fixed) : Math.min(maxLines, fixed);

function chargeOf(workload: Workload): Amounts {
  const { pipeline, cost, quota } = workload;
  const charged: Record<string, bigint> = { ...cost.perLine };
  for (const resource of Object.keys(quota?.hard ?? {})) charged[own(pipeline, resource)] = cost.perLine[resource] ?? 0n;
  if (linesInAll(workload) !== undefined) charged[own(pipeline, ownLines)] = 1n;
  return charged;
}

function ownPools(workloads: readonly Workload[]): Pool[] {
  const first = new Map(workloads.toReversed().map((workload) => [workload.pipeline, workload]));
  return [...first.values()].map((workload) => {
    const { pipeline, quota } = workload;
    const lines = linesInAll(workload);
    const bounds = Object.entries(quota === undefined ? {} : minus(quota.hard, quota.usedByOthers));
    return {
      name: quota?.name ?? pipeline,
      own: true,
      free: {
        ...Object.fromEntries(bounds.map(([resource, amount]) => [own(pipeline, resource), amount])),
        ...(lines === undefined ? {} : { [own(pipeline, ownLines)]: BigInt(lines) }),
      },
    };
  });
}

/** Parts of what is free of the shared quotas that the lines use in fact; absent where no quota names the resource. */
export function loadOf(used: Amounts, quotas: readonly Quota[]): { cpu?: number; memory?: number } {
  const load: { cpu?: number; memory?: number } = {};
  for (const resource of ['cpu', 'memory'] as const)
    for (const { hard, usedByOthers } of quotas) {
      // Quotas of a cluster name what is asked for.
      const name = hard[resource] === undefined ? `requests.${resource}` : resource;
      const amount = hard[name];
      const inUse = used[resource];
      if (amount === undefined || inUse === undefined) continue;
      const free = amount - (usedByOthers[name] ?? 0n);
      load[resource] = Math.max(load[resource] ?? 0, free > 0n ? Number(inUse) / Number(free) : 1);
    }
  return load;
}
