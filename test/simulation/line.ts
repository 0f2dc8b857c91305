/**
 * One simulated line: the real heart over a model of agent, slots, scratch and SSD. It breaks things as often as it is told to,
 * and holds every effect against what a real line could do.
 */
import { errorCatalogue, type ErrorCode, type WireError } from '../../runtime/contracts/errors.js';
import type { Lease } from '../../runtime/contracts/line-api.js';
import { limits } from '../../runtime/contracts/limits.js';
import { initialLine, step } from '../../runtime/line/line.js';
import { mayFollow, mayLead } from '../../runtime/line/streaming.js';
import { isExpected } from '../../runtime/line/swaps.js';
import type { KnownStream, LineConfig, LineEffect, LineEvent, LinePipeline, LineState } from '../../runtime/line/types.js';
import type { Clock } from './clock.js';
import type { Coordinator } from './coordinator.js';
import { assertHeart, ensure } from './invariants.js';
import type { Random } from './random.js';

export interface Faults {
  runFails: number;
  runFailsForGood: number;
  containerDies: number;
  runHangs: number;
  helloLost: number;
  swapFails: number;
  stageUnusable: number;
  endLost: number;
  deliveryFails: number;
  answerLost: number;
}
export const noFaults: Faults = {
  runFails: 0,
  runFailsForGood: 0,
  containerDies: 0,
  runHangs: 0,
  helloLost: 0,
  swapFails: 0,
  stageUnusable: 0,
  endLost: 0,
  deliveryFails: 0,
  answerLost: 0,
};

export interface Times {
  swapMs: [number, number];
  runMs: [number, number];
  loadMs: [number, number];
}

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

export class SimulatedLine {
  heart: LineState;
  /** Every run that did work. */
  readonly started: Started[] = [];
  swaps = 0;
  partitioned = false;
  faults: Faults;
  readonly name: string;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #coordinator: Coordinator;
  readonly #config: LineConfig;
  readonly #times: Times;
  #pipeline: LinePipeline;
  #life = 0;
  #isUp = false;
  #containers: (Container | undefined)[];
  /** Sealed streams by shard; and which run may commit to a stage. */
  #scratch = new Map<string, Set<string>>();
  #fences = new Map<string, string>();
  #ssd = new Map<string, Set<string>>();
  #freed = new Map<string, number>();
  #outcomes = new Set<string>();
  /** Stages that were committed, while the word of it was lost. */
  #unheard = new Set<string>();
  /** Runs of stages that were revised since they began: what they make is not what is wanted now. */
  #outdated = new Set<string>();
  /** By slot: the last step that the driver was asked for; it replaces the ones before. */
  readonly #ordered: string[] = [];
  readonly #wakes = new Set<number>();
  /** Of the lease under which a shard was loaded last. */
  #epochs = new Map<string, number>();

  constructor(
    name: string,
    world: {
      clock: Clock;
      random: Random;
      coordinator: Coordinator;
      config: LineConfig;
      times: Times;
      pipeline: LinePipeline;
      faults: Faults;
    },
  ) {
    this.name = name;
    this.#clock = world.clock;
    this.#random = world.random;
    this.#coordinator = world.coordinator;
    this.#config = world.config;
    this.#times = world.times;
    this.#pipeline = world.pipeline;
    this.faults = world.faults;
    this.#containers = world.config.slots === 0 ? [] : Array.from({ length: world.config.slots }, () => undefined);
    this.heart = initialLine(world.config, world.pipeline, `${name}-0`);
    this.#begin();
  }

  /** The agent alone ends and comes back; containers and scratch stay. */
  crashAgent(): void {
    this.#restart();
    this.#later(this.#random.int(50, 3_000), () => {
      this.#begin();
      for (const [index, container] of this.#containers.entries()) {
        if (container === undefined || container.dead) continue;
        container.run = undefined;
        container.prepared = undefined;
        container.ready = false;
        this.#later(this.#random.int(1, 500), () => {
          this.#hello(index, container);
        });
      }
    });
  }

  /** The line ends and comes back: without its containers, and without its memory or even its disk when so told. */
  crash(lost: 'containers' | 'memory' | 'disk'): void {
    this.#restart();
    this.swaps += this.heart.swaps;
    for (const container of this.#containers) if (container !== undefined) container.dead = true;
    this.#containers = this.#containers.map(() => undefined);
    if (lost !== 'containers') this.#scratch.clear();
    if (lost === 'disk') this.#ssd.clear();
    this.#later(this.#random.int(50, 20_000), () => {
      this.#begin();
    });
  }

  killContainer(index: number): void {
    const container = this.#containers[index];
    if (container === undefined || container.dead) return;
    this.#die(index, container);
  }

  revise(pipeline: LinePipeline, isValid: (stage: string) => boolean): void {
    this.#pipeline = pipeline;
    const known = new Map<string, KnownStream[]>();
    for (const [shardId, streams] of this.#scratch) {
      // What is delivered is what it was made under.
      if (['delivering', 'ending'].includes(this.heart.residents.get(shardId)?.phase ?? '')) continue;
      for (const stream of streams) if (stream !== 'input' && !isValid(stream)) streams.delete(stream);
      known.set(shardId, this.#known(shardId));
    }
    for (const streams of this.#ssd.values()) for (const stream of streams) if (!isValid(stream)) streams.delete(stream);
    for (const container of this.#containers)
      if (container?.run !== undefined && !isValid(container.run.stage)) this.#outdated.add(container.run.runId);
    const incomplete = new Set([...known.keys()].filter(() => this.#random.chance(0.1)));
    if (this.#isUp) this.handle({ type: 'revised', pipeline, known, incomplete });
    else this.heart = initialLine(this.#config, pipeline, this.heart.instance);
  }

  /** The line gives its shards back and takes no more, until it is begun anew. */
  drain(deadlineMs: number | undefined): void {
    this.handle({ type: 'drain', deadlineMs });
    this.#later(20_000, () => {
      this.crash('containers');
    });
  }

  /** Its processes are ended, for good. */
  end(): void {
    this.#restart();
    for (const container of this.#containers) if (container !== undefined) container.dead = true;
  }

  handle(event: LineEvent): void {
    if (!this.#isUp) return;
    const effects = step(this.heart, event, this.#clock.nowMs);
    assertHeart(this.heart);
    for (const effect of effects) this.#carryOut(effect);
  }

  #restart(): void {
    this.#life += 1;
    this.#isUp = false;
    this.heart = initialLine(this.#config, this.#pipeline, `${this.name}-${String(this.#life)}`);
    this.#fences.clear();
    this.#wakes.clear();
  }

  #begin(): void {
    this.#isUp = true;
    this.#freed.clear();
    this.#coordinator.hello(this.name, this.heart.instance, new Set(this.#scratch.keys()));
    this.handle({ type: 'tick' });
    const beat = (): void => {
      if (!this.partitioned) {
        const held = [...this.heart.residents].map(([id, resident]) => ({ id, epoch: resident.lease.epoch }));
        for (const id of this.#coordinator.heartbeat(this.name, this.heart.instance, held))
          this.handle({
            type: 'leaseLost',
            shardId: id,
            reason: 'another line has it',
            epoch: held.find((other) => other.id === id)?.epoch,
          });
      }
      this.#later(limits.heartbeatMs, beat);
    };
    this.#later(limits.heartbeatMs, beat);
  }

  /** Only if the agent still lives then. */
  #later(ms: number, act: () => void): void {
    const life = this.#life;
    this.#clock.after(ms, () => {
      if (this.#life === life) act();
    });
  }

  #carryOut(effect: LineEffect): void {
    if ('shardId' in effect && effect.type !== 'free') this.#assertIsHere(effect.shardId, effect.type);
    switch (effect.type) {
      case 'lease':
        this.#lease(effect.max, effect.wait);
        return;
      case 'load':
        this.#load(effect.shardId);
        return;
      case 'swap':
        this.#swap(effect);
        return;
      case 'start':
        this.#start(effect);
        return;
      case 'prepare':
        this.#prepare(effect);
        return;
      case 'withdraw': {
        const container = this.#containers[effect.slot];
        if (container?.prepared?.runId === effect.runId) container.prepared = undefined;
        return;
      }
      case 'cancelRun':
        this.#cancel(effect);
        return;
      case 'stageDone':
        this.#checkpoint(effect.shardId, effect.stage);
        return;
      case 'release':
        ensure(!this.heart.graph.results.includes(effect.stream), `the result ${effect.stream} is released`);
        ensure(!this.#isRead(effect.shardId, effect.stream), `${effect.stream} is released while a run reads it`);
        this.#scratch.get(effect.shardId)?.delete(effect.stream);
        return;
      case 'deliver':
        this.#deliver(effect.shardId);
        return;
      case 'complete':
      case 'fail':
        this.#report(effect);
        return;
      case 'free':
        ensure(
          !this.#containers.some((container) => container?.run?.shardId === effect.shardId),
          `${effect.shardId} is freed while it runs`,
        );
        this.#scratch.delete(effect.shardId);
        this.#freed.set(effect.shardId, this.#epochs.get(effect.shardId) ?? 0);
        return;
      case 'wakeAt':
        ensure(effect.atMs > this.#clock.nowMs, 'woken in the past');
        if (this.#wakes.has(effect.atMs)) return;
        this.#wakes.add(effect.atMs);
        this.#later(effect.atMs - this.#clock.nowMs, () => {
          this.#wakes.delete(effect.atMs);
          this.handle({ type: 'tick' });
        });
        return;
    }
  }

  #lease(max: number, wait: boolean): void {
    this.#later(this.#random.int(1, 10), () => {
      if (this.partitioned) {
        this.#later(1_000, () => {
          this.handle({ type: 'leaseRequestEnded', queued: 0 });
        });
        return;
      }
      this.#coordinator.lease(this.name, this.#held(), max, wait ? limits.leaseWaitMs : 0, this.#answered(max));
    });
  }

  /** The leases that have arrived. */
  #held(): { id: string; epoch: number }[] {
    return [...this.heart.residents].flatMap(([id, { lease, letGo, next }]) => [
      ...(letGo ? [] : [{ id, epoch: lease.epoch }]),
      ...(next === undefined ? [] : [{ id, epoch: next.lease.epoch }]),
    ]);
  }

  /** How a request for leases ends: with its answer, or without it when that is lost on its way. */
  #answered(max: number): (leases: Lease[], queued: number) => void {
    const life = this.#life;
    const isLost = this.#random.chance(this.faults.answerLost);
    return (leases, queued) => {
      if (this.#life !== life) return;
      ensure(leases.length <= max, 'more leases than were asked for');
      this.#clock.after(isLost ? 1_000 : 1, () => {
        if (this.#life !== life) return;
        this.handle(
          leases.length === 0 || isLost
            ? { type: 'leaseRequestEnded', queued }
            : { type: 'leased', queued, leases: leases.map((lease) => ({ lease, needBytes: 100 })) },
        );
      });
    };
  }

  #assertIsHere(shardId: string, effect: string): void {
    const epoch = this.heart.residents.get(shardId)?.lease.epoch;
    ensure(epoch !== undefined, `${effect} for ${shardId}, which is not here`);
    ensure(epoch > (this.#freed.get(shardId) ?? 0), `${effect} for ${shardId}, which was freed`);
  }

  #load(shardId: string): void {
    const epoch = this.heart.residents.get(shardId)?.lease.epoch ?? 0;
    this.#epochs.set(shardId, epoch);
    this.#later(this.#random.int(...this.#times.loadMs), () => {
      const resident = this.heart.residents.get(shardId);
      if (resident?.lease.epoch !== epoch || resident?.phase !== 'loading') return;
      const streams = this.#scratch.get(shardId) ?? new Set<string>();
      for (const stream of this.#ssd.get(shardId) ?? []) streams.add(stream);
      streams.add('input');
      this.#scratch.set(shardId, streams);
      this.#beginPrepared(shardId);
      this.handle({ type: 'loaded', shardId, known: this.#known(shardId) });
    });
  }

  #known(shardId: string): KnownStream[] {
    return [...(this.#scratch.get(shardId) ?? [])]
      .filter((stream) => stream !== 'input')
      .map((stream) => ({ stream, sealed: true }));
  }

  #swap({ slot, stage, step: stepId }: LineEffect & { type: 'swap' }): void {
    this.swaps += 1;
    const old = this.#containers[slot];
    if (old !== undefined) {
      ensure(
        old.run === undefined || old.dead || this.heart.slots[slot]?.phase === 'swapping',
        `slot ${String(slot)} is swapped while it works`,
      );
      old.dead = true;
      old.run = undefined;
      old.prepared = undefined;
      this.#later(1, () => {
        this.handle({ type: 'slotLost', slot, error: this.#error('PDL_STAGE_DIED') });
      });
    }
    this.#ordered[slot] = stepId;
    this.#later(this.#random.int(...this.#times.swapMs), () => {
      if (this.#ordered[slot] !== stepId) return;
      if (this.#random.chance(this.faults.swapFails)) {
        this.handle({ type: 'swapFailed', slot, step: stepId, error: this.#error('PDL_SWAP_FAILED') });
        return;
      }
      const present = this.#containers[slot];
      if (present !== undefined) present.dead = true;
      const container: Container = { stage, step: stepId, ready: false, run: undefined, prepared: undefined, dead: false };
      this.#containers[slot] = container;
      this.#hello(slot, container);
    });
  }

  #hello(slot: number, container: Container, isHeard = !this.#random.chance(this.faults.helloLost)): void {
    if (container.dead || this.#containers[slot] !== container || !isHeard) return;
    const { stage, step: stepId } = container;
    const isWanted = isExpected(this.heart, slot, stage, stepId);
    this.handle({ type: 'slotHello', slot, stage, step: stepId });
    if (!isWanted) return;
    this.#later(this.#random.int(1, 50), () => {
      if (container.dead) return;
      if (this.#random.chance(this.faults.stageUnusable)) {
        this.handle({ type: 'slotUnusable', slot, step: stepId, error: this.#error('PDL_SLOT_UNUSABLE') });
        return;
      }
      container.ready = true;
      this.handle({ type: 'slotReady', slot, step: stepId });
    });
  }

  #isRead(shardId: string, stream: string): boolean {
    return this.heart.slots.some(
      (slot) =>
        slot.phase === 'running' &&
        !slot.cancelled &&
        slot.shardId === shardId &&
        this.heart.graph.stages.get(slot.stage)?.after.includes(stream) === true,
    );
  }

  /** A follower begins behind runs that go on, all the way up, and takes no slot that a shard with whole inputs could have. */
  #assertMayFollow(shardId: string, stage: string, growing: readonly string[]): void {
    const { graph, slots, residents } = this.heart;
    const follower = graph.stages.get(stage);
    ensure(follower !== undefined && mayFollow(follower), `${stage} cannot follow`);
    const assertIsMade = (stream: string): void => {
      ensure(
        slots.some((at) => at.phase === 'running' && !at.cancelled && at.shardId === shardId && at.stage === stream),
        `${stage} of ${shardId} follows ${stream}, which is not being made`,
      );
      for (const input of graph.stages.get(stream)?.after ?? [])
        if (input !== 'input' && residents.get(shardId)?.stages.get(input)?.phase !== 'done') assertIsMade(input);
    };
    for (const stream of growing) {
      const leader = graph.stages.get(stream);
      ensure(leader !== undefined && mayLead(leader), `${stream} cannot be followed`);
      assertIsMade(stream);
    }
    for (const [id, resident] of residents) {
      const at = resident.phase === 'stages' ? resident.stages.get(stage) : undefined;
      ensure(
        at?.phase !== 'ready' ||
          at.notBeforeMs > this.#clock.nowMs ||
          slots.some((slot) => slot.phase === 'running' && slot.shardId === id && slot.stage === stage),
        `${stage} follows for ${shardId} while ${id} is ready for it`,
      );
    }
  }

  #start({ slot, shardId, stage, runId, growing }: LineEffect & { type: 'start' }): void {
    const container = this.#containers[slot];
    const streams = this.#scratch.get(shardId);
    ensure(this.heart.slots[slot]?.phase === 'running', `slot ${String(slot)} is told to start and is not said to run`);
    ensure(container !== undefined && container.stage === stage, `slot ${String(slot)} does not hold ${stage}`);
    if (container.dead) return;
    ensure(container.ready && container.run === undefined, `slot ${String(slot)} cannot start`);
    ensure(streams !== undefined, `${shardId} is not loaded`);
    for (const stream of this.heart.graph.stages.get(stage)?.after ?? [])
      ensure(streams.has(stream) || growing.includes(stream), `${stage} of ${shardId} reads ${stream}, which is not there`);
    if (growing.length > 0) this.#assertMayFollow(shardId, stage, growing);
    ensure(
      !this.#containers.some((other) => other?.run?.shardId === shardId && other.run.stage === stage),
      `two runs of ${stage} for ${shardId}`,
    );
    const { prepared } = container;
    container.prepared = undefined;
    if (prepared?.runId === runId && prepared.begun) {
      container.run = prepared;
      if (prepared.committed) this.#later(0, () => this.#tellEnd(slot, container, prepared));
      return;
    }
    this.#fences.set(`${shardId}/${stage}`, runId);
    const run = { runId, shardId, stage, growing, worked: false };
    container.run = run;
    if (streams.has(stage)) {
      ensure(this.#unheard.has(`${shardId}/${stage}`), `${stage} of ${shardId} runs again although it is sealed`);
      this.#later(0, () => {
        this.#end(slot, container, runId);
      });
      return;
    }
    this.#work(slot, container, run);
  }

  #work(slot: number, container: Container, run: SimulatedRun): void {
    const { runId, shardId, stage, growing } = run;
    const follows = growing.some((stream) => this.#scratch.get(shardId)?.has(stream) !== true);
    const started: Started = { line: this.name, shardId, stage, slot, atMs: this.#clock.nowMs, follows };
    this.started.push(started);
    const runMs = this.#random.int(...this.#times.runMs);
    const declared = this.heart.graph.stages.get(stage);
    if (declared !== undefined && mayLead(declared))
      this.#later(this.#random.int(0, runMs), () => {
        if (!container.dead && container.run?.runId === runId) this.handle({ type: 'runGrew', slot, runId });
      });
    if (this.#random.chance(this.faults.containerDies)) {
      this.#later(this.#random.int(0, runMs), () => {
        if (container.run?.runId === runId) this.#die(slot, container);
      });
    } else if (declared?.timeoutMs === undefined || !this.#random.chance(this.faults.runHangs)) {
      this.#later(runMs, () => {
        started.endedMs = this.#clock.nowMs;
        if (container.run?.runId === runId) container.run.worked = true;
        if (container.prepared?.runId === runId) this.#endEarly(container, container.prepared);
        else this.#endIfWhole(slot, container, runId);
      });
    }
  }

  /** A hint, which may not arrive. */
  #prepare({ slot, shardId, stage, runId, growing }: LineEffect & { type: 'prepare' }): void {
    const container = this.#containers[slot];
    ensure(this.heart.slots[slot]?.phase === 'idle', `${stage} is prepared in slot ${String(slot)}, which is not idle`);
    ensure(container !== undefined && container.stage === stage, `slot ${String(slot)} does not hold ${stage}`);
    ensure(growing.length > 0, `${stage} of ${shardId} is prepared and lacks nothing`);
    this.#assertIsMade(shardId, stage, growing);
    if (container.dead || !container.ready || container.run !== undefined || this.#random.chance(0.1)) return;
    this.#fences.set(`${shardId}/${stage}`, runId);
    container.prepared = { runId, shardId, stage, growing, worked: false, begun: false, committed: false };
  }

  /** What was prepared for a shard begins by itself when its inputs are whole, and may be whole itself before it is started. */
  #beginPrepared(shardId: string): void {
    for (const container of this.#containers) {
      const run = container?.prepared;
      if (container === undefined || run?.shardId !== shardId || run.begun) continue;
      if (!run.growing.every((stream) => this.#scratch.get(shardId)?.has(stream))) continue;
      this.#later(this.#random.int(0, 3), () => {
        if (container.dead || container.prepared !== run) return;
        run.begun = true;
        this.#work(this.#containers.indexOf(container), container, run);
      });
    }
  }

  /** It is whole before the heart has heard that it was wanted. */
  #endEarly(container: Container, run: PreparedRun): void {
    const { runId, shardId, stage } = run;
    const isFenced = this.#fences.get(`${shardId}/${stage}`) !== runId || this.#outdated.has(runId);
    if (container.dead || isFenced || !this.#scratch.has(shardId)) {
      container.prepared = undefined;
      return;
    }
    this.#scratch.get(shardId)?.add(stage);
    run.committed = true;
    this.#unheard.add(`${shardId}/${stage}`);
    this.#tellFollowers(shardId, stage);
    this.#beginPrepared(shardId);
  }

  #tellEnd(slot: number, container: Container, run: SimulatedRun): void {
    if (container.dead || container.run !== run) return;
    container.run = undefined;
    this.handle({ type: 'runCommitted', slot, runId: run.runId });
  }

  #assertIsMade(shardId: string, stage: string, growing: readonly string[]): void {
    const isMade = (stream: string): boolean =>
      stream === 'input'
        ? this.heart.residents.get(shardId)?.phase === 'loading'
        : this.heart.slots.some(
            (at) => at.phase === 'running' && !at.cancelled && at.shardId === shardId && at.stage === stream,
          ) || [...this.heart.prepared.values()].some((at) => at.shardId === shardId && at.stage === stream);
    for (const stream of growing)
      ensure(isMade(stream), `${stage} of ${shardId} is prepared behind ${stream}, which is not being made`);
  }

  /** A follower that has caught up waits for its leaders' ends; it may fail while it does. */
  #endIfWhole(slot: number, container: Container, runId: string): void {
    const run = container.run;
    if (container.dead || run?.runId !== runId || !run.worked) return;
    if (run.growing.every((stream) => this.#scratch.get(run.shardId)?.has(stream))) this.#end(slot, container, runId);
    else if (this.#random.chance(this.faults.runFails)) {
      container.run = undefined;
      this.handle({ type: 'runFailed', slot, runId, error: this.#error('PDL_STAGE_FAILED') });
    }
  }

  /** What follows a stage hears that its stream is whole. */
  #tellFollowers(shardId: string, stage: string): void {
    for (const [slot, container] of this.#containers.entries()) {
      const run = container?.run;
      if (container === undefined || run?.shardId !== shardId || !run.growing.includes(stage)) continue;
      this.#later(this.#random.int(0, 5), () => {
        this.#endIfWhole(slot, container, run.runId);
      });
    }
  }

  #end(slot: number, container: Container, runId: string): void {
    const run = container.run;
    if (container.dead || run?.runId !== runId) return;
    container.run = undefined;
    if (this.#random.chance(this.faults.runFailsForGood))
      this.handle({ type: 'runFailed', slot, runId, error: this.#error('PDL_STAGE_OUTPUT') });
    else if (this.#random.chance(this.faults.runFails))
      this.handle({ type: 'runFailed', slot, runId, error: this.#error('PDL_STAGE_FAILED') });
    else if (
      this.#outdated.has(runId) ||
      this.#fences.get(`${run.shardId}/${run.stage}`) !== runId ||
      !this.#scratch.has(run.shardId)
    )
      this.handle({ type: 'runFailed', slot, runId, error: this.#error('PDL_RUN_FENCED') });
    else {
      this.#scratch.get(run.shardId)?.add(run.stage);
      this.#tellFollowers(run.shardId, run.stage);
      this.#beginPrepared(run.shardId);
      if (this.#random.chance(this.faults.endLost)) {
        container.ready = false;
        this.#unheard.add(`${run.shardId}/${run.stage}`);
        this.#hello(slot, container, true);
      } else this.handle({ type: 'runCommitted', slot, runId });
    }
  }

  /** A container ends by itself: whoever started it starts it again, with the same stage and step. */
  #die(slot: number, container: Container): void {
    container.dead = true;
    container.run = undefined;
    container.prepared = undefined;
    this.handle({ type: 'slotLost', slot, error: this.#error('PDL_STAGE_DIED') });
    this.#later(this.#random.int(10, 1_000), () => {
      if (this.#containers[slot] !== container) return;
      const next: Container = { ...container, dead: false, ready: false };
      this.#containers[slot] = next;
      this.#hello(slot, next);
    });
  }

  #cancel({ slot, runId, kill }: LineEffect & { type: 'cancelRun' }): void {
    const container = this.#containers[slot];
    if (container === undefined || container.dead) return;
    if (kill) {
      container.run = undefined;
      container.prepared = undefined;
      container.dead = true;
      this.#later(0, () => {
        if (this.#containers[slot] === container) this.#die(slot, container);
      });
    } else if (!this.#random.chance(this.faults.runHangs)) {
      this.#later(this.#random.int(0, 100), () => {
        if (container.dead || container.run?.runId !== runId) return;
        container.run = undefined;
        this.handle({ type: 'runFailed', slot, runId, error: this.#error('PDL_STAGE_FAILED') });
      });
    } else container.run = container.run === undefined ? undefined : { ...container.run, runId: `${runId} hangs` };
  }

  #checkpoint(shardId: string, stage: string): void {
    this.#later(this.#random.int(0, 300), () => {
      if (this.#scratch.get(shardId)?.has(stage) !== true) return;
      const streams = this.#ssd.get(shardId) ?? new Set();
      this.#ssd.set(shardId, streams.add(stage));
    });
  }

  #deliver(shardId: string): void {
    const streams = this.#scratch.get(shardId);
    const isFirst = this.heart.residents.get(shardId)?.deliveries === 1;
    for (const stage of isFirst ? this.heart.graph.results : [])
      ensure(streams?.has(stage) === true, `the result ${stage} of ${shardId} is not there`);
    this.#later(this.#random.int(1, 50), () => {
      if (this.#random.chance(this.faults.deliveryFails))
        this.handle({ type: 'deliverFailed', shardId, error: this.#error('PDL_RESULT_DIR') });
      else this.handle({ type: 'delivered', shardId });
    });
  }

  #report(effect: LineEffect & { type: 'complete' | 'fail' }): void {
    const { shardId } = effect;
    const epoch = this.heart.residents.get(shardId)?.lease.epoch;
    ensure(epoch !== undefined, `${effect.type} for ${shardId}, which is not here`);
    const outcome = `${shardId}@${String(epoch)}`;
    ensure(!this.#outcomes.has(outcome), `two outcomes of ${outcome}`);
    this.#outcomes.add(outcome);
    const leaseMax = effect.type === 'complete' ? (effect.lease?.max ?? 0) : 0;
    const send = (): void => {
      if (this.partitioned) {
        this.#later(500, send);
        return;
      }
      const isLost = this.#random.chance(this.faults.answerLost);
      const taken =
        effect.type === 'complete'
          ? this.#coordinator.complete(this.name, shardId, epoch)
          : this.#coordinator.fail(this.name, shardId, epoch, effect.error, effect.counts);
      let leased: [Lease[], number] = [[], 0];
      if (leaseMax > 0 && taken)
        this.#coordinator.lease(this.name, this.#held(), leaseMax, 0, (...answer) => {
          leased = answer;
        });
      if (isLost) {
        this.#later(500, send);
        return;
      }
      if (taken) this.handle({ type: 'ended', shardId, epoch });
      else this.handle({ type: 'leaseLost', shardId, epoch, reason: 'the lease is over' });
      if (leaseMax > 0) this.#answered(leaseMax)(...leased);
    };
    this.#later(this.#random.int(1, 20), send);
  }

  #error(code: ErrorCode): WireError {
    return { code, message: `${code} on ${this.name}`, hint: '', retry: errorCatalogue[code].retry };
  }
}
