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
 *  4. Where a workload can lose only its highest numbers, a line is ended when all above it are: and one that goes is kept rather than
 *     a new one started.
 */
import type { Autoscaler, Capacity, Ceiling, Quota, Wanted } from '../contracts/capacity.js';
import type { DriverEvent, LineDriver } from '../contracts/driver.js';
import { limits } from '../contracts/limits.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { FlowView, LineView } from '../contracts/views.js';
import { parseDurationMs } from '../config/units.js';
import type { Journal } from '../journal/journal.js';
import { planFlow, type FlowState, type Workload, type WorkloadPlan } from '../line/flow.js';
import { defaultGroup, groupNames, workloadName } from '../line/groups.js';
import { initialScaling, planScale, type Demand, type Drainable, type ScalingRules, type ScalingState } from '../line/scaling.js';
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import { drainableOf, fromTheTop, ownQuota, rulesFor, rulesOf } from './scaling-rules.js';

export interface ScalerParts {
  driver: LineDriver;
  capacity: Capacity;
  /** With one, of pipelines that go by demand only the ceilings and the step between no line and one are the scaler's. */
  autoscaler?: Autoscaler | undefined;
  journal: Pick<Journal, 'queued'>;
  clock: Clock;
  logger: Logger;
  cores: number;
  linesOf: (pipeline: string) => LineView[];
  /** The line takes nothing new; with `false`, it is wanted again. */
  drain: (line: string, draining: boolean) => void;
}

interface Managed {
  pipeline: Pipeline;
  wanted: Wanted;
}

interface Planned {
  workload: Workload;
  plan: WorkloadPlan;
}

type Present = Pick<Workload, 'pipeline' | 'group'>;

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
  /** By workload: how many lines the driver was told to start last, and when they were last missing. */
  readonly #started = new Map<string, { lines: number; wantedMs: number }>();
  #state: FlowState = new Map();
  /** By workload: whether an autoscaler that knows no zero should have one line, or none. */
  readonly #idle = new Map<string, ScalingState>();
  #plans = new Map<string, Planned>();
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

  /** From now on the lines of the pipeline are its business. */
  manage(pipeline: Pipeline, wanted: Wanted): void {
    this.#managed.set(pipeline.name, { pipeline, wanted });
    this.lookSoon();
  }

  /** They are not any more; without a name, no lines are, and what is there is learnt anew. */
  leave(pipeline?: string): void {
    const left = pipeline === undefined ? [...this.#managed.keys()] : [pipeline];
    for (const name of left) {
      this.#managed.delete(name);
      for (const [line, of] of this.#present) if (of.pipeline === name) this.#forget(line);
    }
    for (const [name, { workload }] of this.#plans) {
      if (!left.includes(workload.pipeline)) continue;
      for (const memory of [this.#plans, this.#idle, this.#started]) memory.delete(name);
      this.parts.autoscaler?.leave?.(name);
      for (const what of [...this.#told.keys()]) if (what.startsWith(`${name} `)) this.#told.delete(what);
    }
    this.#state = new Map([...this.#state].filter(([name]) => this.#plans.has(name)));
  }

  #forget(line: string): void {
    for (const lines of [this.#present, this.#going]) lines.delete(line);
  }

  /** A revision of a pipeline that it manages. */
  revised(pipeline: Pipeline): void {
    const managed = this.#managed.get(pipeline.name);
    if (managed !== undefined) this.manage(pipeline, managed.wanted);
  }

  heed(event: DriverEvent): void {
    if (event.type === 'lineStarted') {
      this.#present.set(event.line, { pipeline: event.pipeline, group: event.group ?? defaultGroup });
      // Another one of that name.
      this.#going.delete(event.line);
    } else if (event.type === 'lineEnded' && event.gone) this.#forget(event.line);
    else return;
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
    const before = this.#plans;
    this.#plans = new Map();
    const plans = this.#planAll(workloads, (scope) => capacity.quotas(scope));
    for (const { workload, plan: planned } of plans) {
      this.#plans.set(workload.name, { workload, plan: planned });
      if (before.get(workload.name)?.plan.lines !== planned.lines)
        logger.info(
          { pipeline: workload.pipeline, group: workload.group, lines: planned.lines, because: planned.because },
          planned.why,
        );
      const managed = this.#managed.get(workload.pipeline);
      if (managed === undefined) continue;
      if (autoscaler !== undefined && managed.wanted.by === 'demand') this.#leaveTo(autoscaler, managed, workload, planned);
      else {
        if (autoscaler !== undefined && managed.wanted.by === 'autoscaler' && workload.group === defaultGroup)
          this.#follow(autoscaler, managed, workload, planned);
        // The number is somebody else's: it is told what there would be room for.
        else if (autoscaler !== undefined && managed.wanted.by === 'number')
          this.#tell(
            autoscaler,
            workload,
            rulesOf(managed.pipeline, workload.group, this.parts.cores),
            planned,
            planned.linesMax,
          );
        this.#carryOut(managed, workload, planned);
      }
    }
    this.#endWhatIsDone(workloads);
  }

  /** Each scope has quotas of its own. */
  #planAll(workloads: readonly Workload[], quotasOf: (scope: string | undefined) => readonly Quota[]): Planned[] {
    const { capacity, clock } = this.parts;
    const scopes = new Map<string | undefined, Workload[]>();
    for (const workload of workloads) {
      const scope = capacity.scopeOf?.(workload.pipeline);
      scopes.set(scope, [...(scopes.get(scope) ?? []), workload]);
    }
    const state = new Map<string, ScalingState>();
    const plans = [...scopes].flatMap(([scope, its]) => {
      const plan = planFlow(this.#state, its, quotasOf(scope), clock.nowMs());
      for (const [name, of] of plan.state) state.set(name, of);
      return its.flatMap((workload, index): Planned[] => {
        const planned = plan.workloads[index];
        return planned === undefined ? [] : [{ workload, plan: planned }];
      });
    });
    this.#state = state;
    return plans;
  }

  #carryOut(managed: Managed, { name, group, lines, highestFirst }: Workload, { drains, ...plan }: WorkloadPlan): void {
    const withinMs = parseDurationMs(managed.pipeline.spec.scaling.drainWithin);
    for (const line of drains) {
      this.#going.set(line, { untilMs: this.parts.clock.nowMs() + withinMs, ordered: false });
      this.parts.drain(line, true);
    }
    const missing = plan.lines - lines.filter(({ draining }) => !draining).length;
    const kept = highestFirst === true ? this.#keep(lines, missing) : 0;
    const starts = Math.max(0, Math.min(plan.starts, missing - kept));
    const staying = lines.filter(({ line }) => this.#going.get(line)?.ordered !== true).length;
    if (starts > 0 || this.#isLeft(name, staying)) this.#start(managed, group, name, staying + starts);
  }

  #start({ pipeline }: Managed, group: string, name: string, lines: number): void {
    this.#started.set(name, { lines, wantedMs: this.parts.clock.nowMs() });
    this.#order('start lines', this.parts.driver.start(pipeline, lines, group));
  }

  /** More lines were started once than are there, and for long enough nobody has missed them: what could not come need not come later. */
  #isLeft(name: string, staying: number): boolean {
    const started = this.#started.get(name);
    return started !== undefined && started.lines > staying && this.parts.clock.nowMs() - started.wantedMs >= limits.leaseTtlMs;
  }

  /** Of the lines that go, the lowest `most` stay. Answers how many. */
  #keep(lines: readonly Drainable[], most: number): number {
    const kept = [...lines]
      .sort((a, b) => a.ordinal - b.ordinal)
      .filter(({ line }) => this.#going.get(line)?.ordered === false)
      .slice(0, Math.max(0, most));
    for (const { line } of kept) {
      this.#going.delete(line);
      this.parts.drain(line, false);
    }
    return kept.length;
  }

  #tell(by: Autoscaler, { pipeline, group, name }: Workload, rules: ScalingRules, plan: WorkloadPlan, most = plan.ceiling): void {
    const [linesMin, shardsPerLine, because] = [Math.min(rules.minLines, most), rules.shardsPerLine, plan.because];
    const told: Ceiling = { pipeline, group, workload: name, linesMax: most, linesMin, shardsPerLine, because };
    this.#once(`${name} ceiling`, JSON.stringify(told), `tell ${by.kind} the ceiling`, () => by.tell(told));
  }

  /** It asks for lines, and the scaler starts and drains them; what it cannot ask for is said for it. */
  #follow(autoscaler: Autoscaler, { pipeline: of, wanted }: Managed, workload: Workload, plan: WorkloadPlan): void {
    const { name, pipeline, group, rules } = workload;
    this.#tell(autoscaler, workload, rulesOf(of, group, this.parts.cores), plan);
    const step = wanted.by === 'autoscaler' && rules.minLines !== wanted.lines ? rules.minLines : undefined;
    this.#once(`${name} step`, String(step), `go to ${String(step)} lines`, async () => {
      if (step !== undefined) await autoscaler.ask?.(pipeline, step);
    });
  }

  /** So many as the autoscaler asks for, or none where nothing is to be done and the manifest wants that. */
  #askedOf(name: string, asked: number, demand: Demand, rules: ScalingRules): number {
    if (rules.minLines > 0) return asked;
    const nowMs = this.parts.clock.nowMs();
    const before = this.#idle.get(name) ?? initialScaling(1, rules, nowMs);
    const { state, lines } = planScale(before, demand, 1, { ...rules, maxLines: 1 }, nowMs);
    this.#idle.set(name, state);
    return lines === 0 ? 0 : Math.max(1, asked);
  }

  /** The autoscaler knows no way between no line and one: while there is none, it rests. */
  #leaveTo(autoscaler: Autoscaler, managed: Managed, workload: Workload, plan: WorkloadPlan): void {
    const { pipeline, group, name, rules } = workload;
    const { driver } = this.parts;
    this.#tell(autoscaler, workload, rules, plan);
    const [lines, there] = [plan.lines, workload.lines.length];
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
    for (const { pipeline, group, lines, highestFirst } of workloads) {
      const staying = lines.filter(({ line }) => this.#going.get(line)?.ordered !== true);
      const isDone = ({ line, shards }: Drainable): boolean => {
        const going = this.#going.get(line);
        return going !== undefined && (shards === 0 || going.untilMs <= nowMs);
      };
      const done = highestFirst === true ? fromTheTop(staying, isDone) : staying.filter(isDone);
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

  async #workloadsOf({ pipeline, wanted }: Managed): Promise<Workload[]> {
    const { capacity, journal, driver, cores, linesOf } = this.parts;
    const queued = await journal.queued(pipeline.name);
    const views = linesOf(pipeline.name);
    const cost = capacity.costOf(pipeline);
    return groupNames(pipeline.spec.groups).map((group): Workload => {
      const spec = pipeline.spec.groups.find((one) => one.name === group);
      const lines = this.#linesOf(pipeline.name, group, views);
      const name = workloadName(pipeline.name, group);
      const demand = { queued: queued[group] ?? 0, running: lines.reduce((sum, { shards }) => sum + shards, 0) };
      const byDemand = rulesOf(pipeline, group, cores);
      const asked = (lines: number): number => this.#askedOf(name, lines, demand, byDemand);
      return {
        name,
        pipeline: pipeline.name,
        group,
        weight: pipeline.spec.scaling.weight,
        groupWeight: spec?.weight ?? 1,
        cost,
        quota: ownQuota(pipeline),
        maxLines: pipeline.spec.scaling.maxLines,
        fixed: wanted.by === 'number' ? wanted.lines : undefined,
        rules: rulesFor(wanted, group, { pipeline, byDemand, asked }),
        demand,
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
    return [...new Set([...names, ...known.keys()])].map((line) => drainableOf(line, known.get(line), this.#going.has(line)));
  }
}
