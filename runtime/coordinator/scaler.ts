/**
 * Holds the number of lines where it should be: looks at queues, quotas and lines, lets `line/flow.ts` decide, and carries it out.
 *
 * Owns the list of lines that go, and when they must be gone. Leaves to the driver how a line starts and ends, to the line desk who
 * is there and what it holds, to an autoscaler, where there is one, the number of lines below the ceiling.
 *
 * Invariants
 *  1. A line goes in three steps: it takes nothing new; it holds nothing more, or its time is over; the driver ends it, and it checkpoints
 *     and gives back what it still has. No step is left out.
 *  2. A line counts until the driver says that it is gone: nothing is started in its place before.
 *  3. One look at a time; orders to the driver are absolute numbers, so one that was lost is made good by the next look.
 */
import type { Autoscaler, Capacity, Ceiling, Quota } from '../contracts/capacity.js';
import type { DriverEvent, LineDriver } from '../contracts/driver.js';
import { limits } from '../contracts/limits.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { FlowView, LineView } from '../contracts/views.js';
import { parseDurationMs } from '../config/units.js';
import type { Journal } from '../journal/journal.js';
import { residentsOf, slotsOf } from '../line/concurrency.js';
import { planFlow, type FlowState, type Workload, type WorkloadPlan } from '../line/flow.js';
import { defaultGroup, groupNames, workloadName } from '../line/groups.js';
import { parseAmounts } from '../line/quantity.js';
import type { Drainable, ScalingRules } from '../line/scaling.js';
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';

export interface ScalerParts {
  driver: LineDriver;
  capacity: Capacity;
  /** With one, only the ceilings and the step between no line and one are the scaler's. */
  autoscaler?: Autoscaler | undefined;
  journal: Pick<Journal, 'queued'>;
  clock: Clock;
  logger: Logger;
  cores: number;
  linesOf: (pipeline: string) => LineView[];
  /** The line takes nothing new. */
  drain: (line: string) => void;
}

interface Managed {
  pipeline: Pipeline;
  /** So many in all, instead of by demand. */
  fixed: number | undefined;
}

interface Present {
  pipeline: string;
  group: string;
}

interface Going {
  untilMs: number;
  /** The driver was told to end it. */
  ordered: boolean;
}

export class Scaler {
  readonly #managed = new Map<string, Managed>();
  /** What the driver says is there. */
  readonly #present = new Map<string, Present>();
  readonly #going = new Map<string, Going>();
  readonly #told = new Map<string, string>();
  #state: FlowState = new Map();
  #plans = new Map<string, { workload: Workload; plan: WorkloadPlan }>();
  #callOff: (() => void) | undefined;
  #looking: Promise<void> = Promise.resolve();
  #lookAgain = false;
  readonly #orders = new Set<Promise<void>>();
  readonly #unsubscribe: () => void;
  #closed = false;

  constructor(private readonly parts: ScalerParts) {
    this.#unsubscribe = parts.capacity.subscribe(() => {
      this.lookSoon();
    });
  }

  /** From now on the lines of the pipeline are its business. `fixed`: so many as far as the quota allows, in groups where there is work. */
  manage(pipeline: Pipeline, fixed: number | undefined): void {
    this.#managed.set(pipeline.name, { pipeline, fixed });
    this.lookSoon();
  }

  /** A revision of a pipeline that it manages. */
  revised(pipeline: Pipeline): void {
    const managed = this.#managed.get(pipeline.name);
    if (managed !== undefined) this.manage(pipeline, managed.fixed);
  }

  /** Its lines stay as they are, and are not its business any more. */
  release(pipeline: string): void {
    if (!this.#managed.delete(pipeline)) return;
    for (const [name, { workload }] of this.#plans) {
      if (workload.pipeline !== pipeline) continue;
      this.#plans.delete(name);
      for (const what of ['ceiling', 'step']) this.#told.delete(`${name} ${what}`);
    }
  }

  heed(event: DriverEvent): void {
    if (event.type === 'lineStarted') {
      this.#present.set(event.line, { pipeline: event.pipeline, group: event.group ?? defaultGroup });
    } else if (event.type === 'lineEnded' && event.gone) {
      this.#present.delete(event.line);
      this.#going.delete(event.line);
    } else return;
    this.lookSoon();
  }

  /** Something changed: looks as soon as the present look is over. */
  lookSoon(): void {
    if (this.#closed || this.#managed.size === 0 || this.#lookAgain) return;
    this.#lookAgain = true;
    this.#looking = this.#looking.then(async () => {
      this.#lookAgain = false;
      await this.#look().catch((thrown: unknown) => {
        this.parts.logger.error({ err: String(thrown) }, 'could not see how many lines there should be; it is tried again');
      });
    });
  }

  /** What was decided last. */
  view(pipeline: string): FlowView | undefined {
    const all = [...this.#plans.values()].filter(({ workload }) => workload.pipeline === pipeline);
    const [first] = all;
    if (first === undefined) return undefined;
    const { linesMax, because } = first.plan;
    const groups = all.map(({ workload: { group, demand, lines }, plan }) => ({
      group,
      ...demand,
      lines: lines.length,
      draining: lines.filter(({ draining }) => draining).length,
      wanted: plan.lines,
      ceiling: plan.ceiling,
      why: plan.why,
    }));
    return { linesMax, because, groups };
  }

  /** Resolves when the present look and the orders that it gave are carried out. */
  async settled(): Promise<void> {
    await this.#looking;
    await Promise.all(this.#orders);
  }

  /** Waits for what is under way. Lines stay as they are. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#unsubscribe();
    this.#callOff?.();
    await this.settled();
    await this.parts.autoscaler?.close();
  }

  async #look(): Promise<void> {
    if (this.#closed) return;
    const { clock, capacity, logger, autoscaler } = this.parts;
    this.#callOff?.();
    this.#callOff = clock.after(limits.scaleLookMs, () => {
      this.lookSoon();
    });
    const workloads = (await Promise.all([...this.#managed.values()].map((managed) => this.#workloadsOf(managed)))).flat();
    if (this.#closed as boolean) return;
    const there = new Set(workloads.flatMap(({ lines }) => lines.map(({ line }) => line)));
    for (const line of [...this.#going.keys()]) if (!there.has(line)) this.#going.delete(line);
    const plan = planFlow(this.#state, workloads, capacity.quotas(), clock.nowMs());
    this.#state = plan.state;
    const before = this.#plans;
    this.#plans = new Map();
    for (const [index, workload] of workloads.entries()) {
      const planned = plan.workloads[index];
      if (planned === undefined) continue;
      this.#plans.set(workload.name, { workload, plan: planned });
      if (before.get(workload.name)?.plan.lines !== planned.lines)
        logger.info(
          { pipeline: workload.pipeline, group: workload.group, lines: planned.lines, because: planned.because },
          planned.why,
        );
      if (autoscaler === undefined) this.#carryOut(workload, planned);
      else this.#leaveTo(autoscaler, workload, planned);
    }
    this.#endWhatIsDone(workloads);
  }

  #carryOut({ pipeline, group, lines }: Workload, { drains, starts }: WorkloadPlan): void {
    const managed = this.#managed.get(pipeline);
    if (managed === undefined) return;
    const withinMs = parseDurationMs(managed.pipeline.spec.scaling.drainWithin);
    for (const line of drains) {
      this.#going.set(line, { untilMs: this.parts.clock.nowMs() + withinMs, ordered: false });
      this.parts.drain(line);
    }
    if (starts > 0) {
      const staying = lines.filter(({ line }) => this.#going.get(line)?.ordered !== true).length;
      this.#order('start lines', this.parts.driver.start(managed.pipeline, staying + starts, group));
    }
  }

  /** The autoscaler knows no way between no line and one: while there is none, it rests. */
  #leaveTo(autoscaler: Autoscaler, workload: Workload, { ceiling, lines, because }: WorkloadPlan): void {
    const { pipeline, group, name, rules } = workload;
    const managed = this.#managed.get(pipeline);
    if (managed === undefined) return;
    const told: Ceiling = {
      pipeline,
      group,
      workload: name,
      linesMax: ceiling,
      linesMin: Math.min(rules.minLines, ceiling),
      shardsPerLine: rules.shardsPerLine,
      because,
    };
    const { driver } = this.parts;
    this.#once(`${name} ceiling`, JSON.stringify(told), `tell ${autoscaler.kind} the ceiling`, () => autoscaler.tell(told));
    const there = workload.lines.length;
    const step = lines > 0 && there === 0 ? 'the first' : lines === 0 && there > 0 ? 'no' : 'neither';
    this.#once(`${name} step`, step, `go to ${step} line`, async () => {
      if (step === 'the first') await driver.start(managed.pipeline, 1, group);
      if (step === 'no') await driver.scale(pipeline, 0, { group });
    });
  }

  /** Told when it differs from what was told last, and again when that failed. */
  #once(what: string, value: string, words: string, tell: () => Promise<void>): void {
    if (this.#told.get(what) === value) return;
    this.#told.set(what, value);
    const telling = tell().catch((thrown: unknown) => {
      this.#told.delete(what);
      throw thrown;
    });
    this.#order(words, telling);
  }

  /** Lines that go and hold nothing, or whose time is over. */
  #endWhatIsDone(workloads: readonly Workload[]): void {
    const nowMs = this.parts.clock.nowMs();
    for (const { pipeline, group, lines } of workloads) {
      const staying = lines.filter(({ line }) => this.#going.get(line)?.ordered !== true);
      const done = staying.filter(({ line, shards }) => {
        const going = this.#going.get(line);
        return going !== undefined && (shards === 0 || going.untilMs <= nowMs);
      });
      if (done.length === 0) continue;
      const going = done.map(({ line }) => line);
      for (const line of going) this.#going.set(line, { untilMs: nowMs, ordered: true });
      const scaling = this.parts.driver
        .scale(pipeline, staying.length - going.length, { group, going })
        .catch((thrown: unknown) => {
          for (const line of going) if (this.#going.has(line)) this.#going.set(line, { untilMs: nowMs, ordered: false });
          throw thrown;
        });
      this.#order('end lines', scaling);
    }
  }

  /** The driver takes its time, above all where it ends lines; looks go on meanwhile. */
  #order(what: string, order: Promise<void>): void {
    const done = order
      .catch((thrown: unknown) => {
        this.parts.logger.error({ err: String(thrown) }, `could not ${what}; it is tried again`);
      })
      .finally(() => {
        this.#orders.delete(done);
      });
    this.#orders.add(done);
  }

  async #workloadsOf({ pipeline, fixed }: Managed): Promise<Workload[]> {
    const { capacity, journal, driver, cores, linesOf } = this.parts;
    const queued = await journal.queued(pipeline.name);
    const views = linesOf(pipeline.name);
    const cost = capacity.costOf(pipeline);
    return groupNames(pipeline.spec.groups).map((group): Workload => {
      const spec = pipeline.spec.groups.find((one) => one.name === group);
      const lines = this.#linesOf(pipeline.name, group, views);
      return {
        name: workloadName(pipeline.name, group),
        pipeline: pipeline.name,
        group,
        weight: pipeline.spec.scaling.weight,
        groupWeight: spec?.weight ?? 1,
        cost,
        quota: ownQuota(pipeline),
        maxLines: pipeline.spec.scaling.maxLines,
        fixed,
        rules: fixed === undefined ? rulesOf(pipeline, spec?.minLines, cores) : fixedRules(pipeline, fixed),
        demand: { queued: queued[group] ?? 0, running: lines.reduce((sum, { shards }) => sum + shards, 0) },
        lines,
        highestFirst: driver.choosesLines !== true,
      };
    });
  }

  /** What the driver says is there, and lines that brought themselves up. */
  #linesOf(pipeline: string, group: string, views: readonly LineView[]): Drainable[] {
    const known = new Map(views.filter((view) => view.group === group).map((view) => [view.line, view]));
    const names = new Set(
      [...this.#present].flatMap(([line, of]) => (of.pipeline === pipeline && of.group === group ? [line] : [])),
    );
    return [...new Set([...names, ...known.keys()])].map((line) => {
      const view = known.get(line);
      return {
        line,
        ordinal: Number(line.slice(line.lastIndexOf('-') + 1)) || 0,
        draining: this.#going.has(line) || view?.state === 'draining',
        shards: view?.shards.length ?? 0,
        stagesDone: view?.shards.reduce((sum, shard) => sum + shard.stagesDone.length, 0) ?? 0,
      };
    });
  }
}

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

function rulesOf(pipeline: Pipeline, minLines: number | undefined, cores: number): ScalingRules {
  const { scaling } = pipeline.spec;
  return {
    minLines: minLines ?? scaling.minLines,
    maxLines: scaling.maxLines ?? limits.linesMax,
    shardsPerLine: shardsPerLineOf(pipeline, cores),
    stabilizationMs: parseDurationMs(scaling.stabilization),
    downShare: scaling.downShare,
    downEveryMs: parseDurationMs(scaling.downEvery),
  };
}

/** All of them stay where there is one group; among several they go where work is. */
const fixedRules = ({ spec }: Pipeline, fixed: number): ScalingRules => ({
  minLines: groupNames(spec.groups).length === 1 ? fixed : 0,
  maxLines: fixed,
  shardsPerLine: 1,
  stabilizationMs: 0,
  downShare: 1,
  downEveryMs: 0,
});
