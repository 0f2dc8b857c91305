/**
 * Several pipelines under one quota that changes, in virtual time: the real decisions of `line/flow.ts` over simulated lines that
 * are started and drained as they order.
 */
import type { Amounts, Quota } from '../../runtime/contracts/capacity.js';
import { limits } from '../../runtime/contracts/limits.js';
import { planFlow, type FlowState, type Workload } from '../../runtime/line/flow.js';
import { addAmounts, timesAmounts } from '../../runtime/line/quantity.js';
import type { ScalingRules } from '../../runtime/line/scaling.js';
import { Clock } from './clock.js';
import { Coordinator } from './coordinator.js';
import { ensure } from './invariants.js';
import { noFaults } from './faults.js';
import { SimulatedLine } from './line.js';
import { chainOf, pipelineOf } from './pipelines.js';
import { Random } from './random.js';

export interface SimulatedPipeline {
  name: string;
  weight: number;
  perLine: Amounts;
  rules: ScalingRules;
  stages: number;
}

interface Worker {
  line: SimulatedLine;
  ordinal: number;
  draining: boolean;
}

interface Site {
  pipeline: SimulatedPipeline;
  coordinator: Coordinator;
  workers: Worker[];
}

export class FlowWorld {
  readonly clock = new Clock();
  readonly random: Random;
  readonly sites: Site[];
  quota: Quota;
  started = 0;
  drained = 0;
  /** Lines that were there at once, of all pipelines. */
  linesMost = 0;
  #state: FlowState = new Map();

  constructor(seed: number, pipelines: readonly SimulatedPipeline[], quota: Quota) {
    this.random = new Random(seed);
    this.quota = quota;
    this.sites = pipelines.map((pipeline) => ({ pipeline, coordinator: new Coordinator(this.clock, 1_000), workers: [] }));
    const look = (): void => {
      for (const { coordinator } of this.sites) coordinator.expire();
      this.look();
      this.clock.after(limits.heartbeatMs, look);
    };
    look();
  }

  get free(): Amounts {
    return addAmounts(this.quota.hard, timesAmounts(this.quota.usedByOthers, -1));
  }

  get unended(): number {
    return this.sites.reduce((sum, { coordinator }) => sum + coordinator.unended, 0);
  }

  /** The quota is another one from now on, and the coordinator hears of it. */
  changeQuota(quota: Quota): void {
    this.quota = quota;
    this.look();
  }

  look(): void {
    for (const site of this.sites) this.#endDrained(site);
    const plan = planFlow(this.#state, this.sites.map(workloadOf), [this.quota], this.clock.nowMs);
    this.#state = plan.state;
    this.sites.forEach((site, index) => {
      const { drains = [], starts = 0 } = plan.workloads[index] ?? {};
      for (const worker of site.workers) {
        if (!drains.includes(worker.line.name)) continue;
        worker.draining = true;
        this.clock.after(this.random.int(1, limits.heartbeatMs), () => {
          worker.line.handle({ type: 'drain' });
        });
      }
      for (let at = 0; at < starts; at += 1) this.#start(site);
    });
    const active = this.#used(({ draining }) => !draining);
    for (const [resource, amount] of Object.entries(this.free))
      ensure((active[resource] ?? 0n) <= max(amount, 0n), `active lines take more ${resource} than the quota leaves`);
    const again = planFlow(this.#state, this.sites.map(workloadOf), [this.quota], this.clock.nowMs);
    ensure(
      again.workloads.every(({ drains, starts }) => drains.length === 0 && starts === 0),
      'the same look orders more',
    );
  }

  #start(site: Site): void {
    const taken = new Set(site.workers.map(({ ordinal }) => ordinal));
    let ordinal = 0;
    while (taken.has(ordinal)) ordinal += 1;
    const { stages, name } = site.pipeline;
    const line = new SimulatedLine(`${name}-${String(ordinal)}.${String(this.started)}`, {
      clock: this.clock,
      random: this.random,
      coordinator: site.coordinator,
      config: {
        slots: 2,
        residentsMax: 4,
        cores: 2,
        stageBackoff: { initialMs: 100, factor: 2, maxMs: 5_000 },
        scratchBytesMax: 1_000_000,
      },
      times: { swapMs: [200, 2_000], runMs: [10, 1_000], loadMs: [10, 500] },
      pipeline: pipelineOf(chainOf(stages)),
      faults: noFaults,
    });
    site.workers.push({ line, ordinal, draining: false });
    this.started += 1;
    const used = this.#used(() => true);
    for (const [resource, amount] of Object.entries(this.free))
      ensure((used[resource] ?? 0n) <= max(amount, 0n), `a line was started above the quota for ${resource}`);
    this.linesMost = Math.max(
      this.linesMost,
      this.sites.reduce((sum, { workers }) => sum + workers.length, 0),
    );
  }

  #endDrained(site: Site): void {
    site.workers = site.workers.filter(({ line, draining }) => {
      if (!draining || line.heart.residents.size > 0 || site.coordinator.runningOn(line.name).length > 0) return true;
      site.coordinator.leave(line.name);
      line.end();
      this.drained += 1;
      return false;
    });
  }

  #used(counts: (worker: Worker) => boolean): Amounts {
    return this.sites.reduce<Amounts>(
      (sum, { pipeline, workers }) => addAmounts(sum, timesAmounts(pipeline.perLine, workers.filter(counts).length)),
      {},
    );
  }
}

const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);

function workloadOf({ pipeline, coordinator, workers }: Site): Workload {
  const lines = workers.map(({ line, ordinal, draining }) => ({
    line: line.name,
    ordinal,
    draining,
    shards: coordinator.runningOn(line.name).length,
    stagesDone: [...line.heart.residents.values()].reduce(
      (sum, { stages }) => sum + [...stages.values()].filter((at) => at.phase === 'done').length,
      0,
    ),
  }));
  const running = [...coordinator.shards.values()].filter(({ state }) => state === 'running').length;
  return {
    name: pipeline.name,
    pipeline: pipeline.name,
    group: 'default',
    weight: pipeline.weight,
    groupWeight: 1,
    cost: { perLine: pipeline.perLine, refusals: [] },
    quota: undefined,
    maxLines: undefined,
    rules: pipeline.rules,
    demand: { queued: coordinator.queued, running },
    lines,
  };
}
