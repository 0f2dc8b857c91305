/**
 * The slots of a simulated line: containers that are swapped, say hello, are told their runs beforehand, run, commit, hang and die.
 * What they commit goes to the model of the scratch; what they tell, to the heart, as long as the agent lives.
 */
import type { ErrorCode, WireError } from '../../runtime/contracts/errors.js';
import { mayLead } from '../../runtime/line/streaming.js';
import { isExpected } from '../../runtime/line/swaps.js';
import type { LineConfig, LineEffect, LineEvent, LineState } from '../../runtime/line/types.js';
import type { Clock } from './clock.js';
import { simulatedError, type Faults, type Times } from './faults.js';
import { assertMayFollow, assertMayPrepare, ensure } from './invariants.js';
import type { Random } from './random.js';
import type { SimulatedScratch } from './scratch.js';

/** A process in a slot. */
interface Container {
  stage: string;
  step: string;
  ready: boolean;
  run: SimulatedRun | undefined;
  /** What it was told of beforehand, and has not been started. */
  prepared: PreparedRun | undefined;
  dead: boolean;
}

interface PreparedRun extends SimulatedRun {
  begun: boolean;
  /** It is whole in the scratch. */
  committed: boolean;
}

interface SimulatedRun {
  runId: string;
  shardId: string;
  stage: string;
  /** Inputs that were not whole when it began. */
  growing: string[];
  /** It has done what there was to do, and ends when its inputs are whole. */
  worked: boolean;
}

export interface Started {
  line: string;
  shardId: string;
  stage: string;
  slot: number;
  atMs: number;
  endedMs?: number;
  /** It began before its inputs were whole. */
  follows: boolean;
}

/** The line that the slots are of. */
export interface SlotsHost {
  readonly name: string;
  heart: () => LineState;
  faults: () => Faults;
  handle: (event: LineEvent) => void;
  /** Only if the agent still lives then. */
  later: (ms: number, act: () => void) => void;
}

export class SimulatedSlots {
  swaps = 0;
  /** Every run that did work. */
  readonly started: Started[] = [];
  readonly #host: SlotsHost;
  readonly #scratch: SimulatedScratch;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #times: Times;
  #containers: (Container | undefined)[];
  /** By slot: the last step that the driver was asked for; it replaces the ones before. */
  readonly #ordered: string[] = [];

  constructor(
    host: SlotsHost,
    scratch: SimulatedScratch,
    { clock, random, times, config }: { clock: Clock; random: Random; times: Times; config: LineConfig },
  ) {
    this.#host = host;
    this.#scratch = scratch;
    this.#clock = clock;
    this.#random = random;
    this.#times = times;
    this.#containers = Array.from({ length: config.slots }, () => undefined);
  }

  /** The stage of every container that lives says hello to an agent that began anew. */
  helloAgain(): void {
    for (const [index, container] of this.#containers.entries()) {
      if (container === undefined || container.dead) continue;
      container.run = undefined;
      container.prepared = undefined;
      container.ready = false;
      this.#host.later(this.#random.int(1, 500), () => {
        this.#hello(index, container);
      });
    }
  }

  /** Their processes end with the line's. */
  end(): void {
    for (const container of this.#containers) if (container !== undefined) container.dead = true;
    this.#containers = this.#containers.map(() => undefined);
  }

  kill(slot: number): void {
    const container = this.#containers[slot];
    if (container !== undefined && !container.dead) this.#die(slot, container);
  }

  /** What runs of stages that are not valid any more make is not what is wanted. */
  revise(isValid: (stage: string) => boolean): void {
    for (const container of this.#containers)
      if (container?.run !== undefined && !isValid(container.run.stage)) this.#scratch.outdate(container.run.runId);
  }

  runs(shardId: string): boolean {
    return this.#containers.some((container) => container?.run?.shardId === shardId);
  }

  withdraw({ slot, runId }: LineEffect & { type: 'withdraw' }): void {
    const container = this.#containers[slot];
    if (container?.prepared?.runId === runId) container.prepared = undefined;
  }

  swap({ slot, stage, step: stepId }: LineEffect & { type: 'swap' }): void {
    this.swaps += 1;
    const old = this.#containers[slot];
    if (old !== undefined) {
      ensure(
        old.run === undefined || old.dead || this.#host.heart().slots[slot]?.phase === 'swapping',
        `slot ${String(slot)} is swapped while it works`,
      );
      old.dead = true;
      old.run = undefined;
      old.prepared = undefined;
      this.#host.later(1, () => {
        this.#host.handle({ type: 'slotLost', slot, error: this.#error('PDL_STAGE_DIED') });
      });
    }
    this.#ordered[slot] = stepId;
    this.#host.later(this.#random.int(...this.#times.swapMs), () => {
      if (this.#ordered[slot] !== stepId) return;
      if (this.#random.chance(this.#host.faults().swapFails)) {
        this.#host.handle({ type: 'swapFailed', slot, step: stepId, error: this.#error('PDL_SWAP_FAILED') });
        return;
      }
      const present = this.#containers[slot];
      if (present !== undefined) present.dead = true;
      const container: Container = { stage, step: stepId, ready: false, run: undefined, prepared: undefined, dead: false };
      this.#containers[slot] = container;
      this.#hello(slot, container);
    });
  }

  #hello(slot: number, container: Container, isHeard = !this.#random.chance(this.#host.faults().helloLost)): void {
    if (container.dead || this.#containers[slot] !== container || !isHeard) return;
    const { stage, step: stepId } = container;
    const isWanted = isExpected(this.#host.heart(), slot, stage, stepId);
    this.#host.handle({ type: 'slotHello', slot, stage, step: stepId });
    if (!isWanted) return;
    this.#host.later(this.#random.int(1, 50), () => {
      if (container.dead) return;
      if (this.#random.chance(this.#host.faults().stageUnusable)) {
        this.#host.handle({ type: 'slotUnusable', slot, step: stepId, error: this.#error('PDL_SLOT_UNUSABLE') });
        return;
      }
      container.ready = true;
      this.#host.handle({ type: 'slotReady', slot, step: stepId });
    });
  }

  start({ slot, shardId, stage, runId, growing }: LineEffect & { type: 'start' }): void {
    const container = this.#containers[slot];
    const streams = this.#scratch.shards.get(shardId);
    ensure(this.#host.heart().slots[slot]?.phase === 'running', `slot ${String(slot)} is told to start and is not said to run`);
    ensure(container !== undefined && container.stage === stage, `slot ${String(slot)} does not hold ${stage}`);
    if (container.dead) return;
    ensure(container.ready && container.run === undefined, `slot ${String(slot)} cannot start`);
    ensure(streams !== undefined, `${shardId} is not loaded`);
    for (const stream of this.#host.heart().graph.stages.get(stage)?.after ?? [])
      ensure(streams.has(stream) || growing.includes(stream), `${stage} of ${shardId} reads ${stream}, which is not there`);
    if (growing.length > 0) assertMayFollow(this.#host.heart(), shardId, stage, growing, this.#clock.nowMs);
    ensure(
      !this.#containers.some((other) => other?.run?.shardId === shardId && other.run.stage === stage),
      `two runs of ${stage} for ${shardId}`,
    );
    const { prepared } = container;
    container.prepared = undefined;
    if (prepared?.runId === runId && prepared.begun) {
      container.run = prepared;
      if (prepared.committed) this.#host.later(0, () => this.#tellEnd(slot, container, prepared));
      return;
    }
    this.#scratch.open(shardId, stage, runId);
    const run = { runId, shardId, stage, growing, worked: false };
    container.run = run;
    if (streams.has(stage)) {
      ensure(this.#scratch.wasUnheard(shardId, stage), `${stage} of ${shardId} runs again although it is sealed`);
      this.#host.later(0, () => {
        this.#end(slot, container, runId);
      });
      return;
    }
    this.#work(slot, container, run);
  }

  #work(slot: number, container: Container, run: SimulatedRun): void {
    const { runId, shardId, stage, growing } = run;
    const follows = growing.some((stream) => !this.#scratch.has(shardId, stream));
    const started: Started = { line: this.#host.name, shardId, stage, slot, atMs: this.#clock.nowMs, follows };
    this.started.push(started);
    const runMs = this.#random.int(...this.#times.runMs);
    const declared = this.#host.heart().graph.stages.get(stage);
    if (declared !== undefined && mayLead(declared))
      this.#host.later(this.#random.int(0, runMs), () => {
        if (!container.dead && container.run?.runId === runId) this.#host.handle({ type: 'runGrew', slot, runId });
      });
    if (this.#random.chance(this.#host.faults().containerDies)) {
      this.#host.later(this.#random.int(0, runMs), () => {
        if (container.run?.runId === runId) this.#die(slot, container);
      });
    } else if (declared?.timeoutMs === undefined || !this.#random.chance(this.#host.faults().runHangs)) {
      this.#host.later(runMs, () => {
        started.endedMs = this.#clock.nowMs;
        if (container.run?.runId === runId) container.run.worked = true;
        if (container.prepared?.runId === runId) this.#endEarly(container, container.prepared);
        else this.#endIfWhole(slot, container, runId);
      });
    }
  }

  /** A hint, which may not arrive. */
  prepare({ slot, shardId, stage, runId, growing }: LineEffect & { type: 'prepare' }): void {
    const container = this.#containers[slot];
    ensure(this.#host.heart().slots[slot]?.phase === 'idle', `${stage} is prepared in slot ${String(slot)}, which is not idle`);
    ensure(container !== undefined && container.stage === stage, `slot ${String(slot)} does not hold ${stage}`);
    assertMayPrepare(this.#host.heart(), shardId, stage, growing);
    if (container.dead || !container.ready || container.run !== undefined || this.#random.chance(0.1)) return;
    this.#scratch.open(shardId, stage, runId);
    container.prepared = { runId, shardId, stage, growing, worked: false, begun: false, committed: false };
  }

  /** What was prepared for a shard begins by itself when its inputs are whole, and may be whole itself before it is started. */
  beginPrepared(shardId: string): void {
    for (const container of this.#containers) {
      const run = container?.prepared;
      if (container === undefined || run?.shardId !== shardId || run.begun) continue;
      if (!run.growing.every((stream) => this.#scratch.has(shardId, stream))) continue;
      this.#host.later(this.#random.int(0, 3), () => {
        if (container.dead || container.prepared !== run) return;
        run.begun = true;
        this.#work(this.#containers.indexOf(container), container, run);
      });
    }
  }

  /** It is whole before the heart has heard that it was wanted. */
  #endEarly(container: Container, run: PreparedRun): void {
    const { runId, shardId, stage } = run;
    if (container.dead || this.#scratch.isFenced(shardId, stage, runId)) {
      container.prepared = undefined;
      return;
    }
    this.#scratch.shards.get(shardId)?.add(stage);
    run.committed = true;
    this.#scratch.missHearing(shardId, stage);
    this.#tellFollowers(shardId, stage);
    this.beginPrepared(shardId);
  }

  #tellEnd(slot: number, container: Container, run: SimulatedRun): void {
    if (container.dead || container.run !== run) return;
    container.run = undefined;
    this.#host.handle({ type: 'runCommitted', slot, runId: run.runId });
  }

  /** A follower that has caught up waits for its leaders' ends; it may fail while it does. */
  #endIfWhole(slot: number, container: Container, runId: string): void {
    const run = container.run;
    if (container.dead || run?.runId !== runId || !run.worked) return;
    if (run.growing.every((stream) => this.#scratch.has(run.shardId, stream))) this.#end(slot, container, runId);
    else if (this.#random.chance(this.#host.faults().runFails)) {
      container.run = undefined;
      this.#host.handle({ type: 'runFailed', slot, runId, error: this.#error('PDL_STAGE_FAILED') });
    }
  }

  /** What follows a stage hears that its stream is whole. */
  #tellFollowers(shardId: string, stage: string): void {
    for (const [slot, container] of this.#containers.entries()) {
      const run = container?.run;
      if (container === undefined || run?.shardId !== shardId || !run.growing.includes(stage)) continue;
      this.#host.later(this.#random.int(0, 5), () => {
        this.#endIfWhole(slot, container, run.runId);
      });
    }
  }

  #end(slot: number, container: Container, runId: string): void {
    const run = container.run;
    if (container.dead || run?.runId !== runId) return;
    container.run = undefined;
    if (this.#random.chance(this.#host.faults().runFailsForGood))
      this.#host.handle({ type: 'runFailed', slot, runId, error: this.#error('PDL_STAGE_OUTPUT') });
    else if (this.#random.chance(this.#host.faults().runFails))
      this.#host.handle({ type: 'runFailed', slot, runId, error: this.#error('PDL_STAGE_FAILED') });
    else if (this.#scratch.isFenced(run.shardId, run.stage, runId))
      this.#host.handle({ type: 'runFailed', slot, runId, error: this.#error('PDL_RUN_FENCED') });
    else {
      this.#scratch.shards.get(run.shardId)?.add(run.stage);
      this.#tellFollowers(run.shardId, run.stage);
      this.beginPrepared(run.shardId);
      if (this.#random.chance(this.#host.faults().endLost)) {
        container.ready = false;
        this.#scratch.missHearing(run.shardId, run.stage);
        this.#hello(slot, container, true);
      } else this.#host.handle({ type: 'runCommitted', slot, runId });
    }
  }

  /** A container ends by itself: whoever started it starts it again, with the same stage and step. */
  #die(slot: number, container: Container): void {
    container.dead = true;
    container.run = undefined;
    container.prepared = undefined;
    this.#host.handle({ type: 'slotLost', slot, error: this.#error('PDL_STAGE_DIED') });
    this.#host.later(this.#random.int(10, 1_000), () => {
      if (this.#containers[slot] !== container) return;
      const next: Container = { ...container, dead: false, ready: false };
      this.#containers[slot] = next;
      this.#hello(slot, next);
    });
  }

  cancel({ slot, runId, kill }: LineEffect & { type: 'cancelRun' }): void {
    const container = this.#containers[slot];
    if (container === undefined || container.dead) return;
    if (kill) {
      container.run = undefined;
      container.prepared = undefined;
      container.dead = true;
      this.#host.later(0, () => {
        if (this.#containers[slot] === container) this.#die(slot, container);
      });
    } else if (!this.#random.chance(this.#host.faults().runHangs)) {
      this.#host.later(this.#random.int(0, 100), () => {
        if (container.dead || container.run?.runId !== runId) return;
        container.run = undefined;
        this.#host.handle({ type: 'runFailed', slot, runId, error: this.#error('PDL_STAGE_FAILED') });
      });
    } else container.run = container.run === undefined ? undefined : { ...container.run, runId: `${runId} hangs` };
  }

  #error(code: ErrorCode): WireError {
    return simulatedError(code, this.#host.name);
  }
}
