/**
 * One simulated line: the real heart over a model of agent, slots, scratch and SSD. It breaks things as often as it is told to,
 * and holds every effect against what a real line could do.
 */
import type { Lease } from '../../runtime/contracts/line-api.js';
import { limits } from '../../runtime/contracts/limits.js';
import { initialLine, step } from '../../runtime/line/line.js';
import type { KnownStream, LineConfig, LineEffect, LineEvent, LinePipeline, LineState } from '../../runtime/line/types.js';
import type { Clock } from './clock.js';
import type { Coordinator } from './coordinator.js';
import { simulatedError, type Faults, type Times } from './faults.js';
import { assertHeart, ensure, isRead } from './invariants.js';
import type { Random } from './random.js';
import { SimulatedScratch } from './scratch.js';
import { SimulatedSlots, type Started } from './slots.js';

export class SimulatedLine {
  heart: LineState;
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
  readonly #slots: SimulatedSlots;
  readonly #scratch = new SimulatedScratch();
  #ssd = new Map<string, Set<string>>();
  #freed = new Map<string, number>();
  #outcomes = new Set<string>();
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
    this.heart = initialLine(world.config, world.pipeline, `${name}-0`);
    this.#slots = new SimulatedSlots(
      {
        name,
        heart: () => this.heart,
        faults: () => this.faults,
        handle: (event) => {
          this.handle(event);
        },
        later: (ms, act) => {
          this.#later(ms, act);
        },
      },
      this.#scratch,
      world,
    );
    this.#begin();
  }

  get swaps(): number {
    return this.#slots.swaps;
  }

  /** Every run that did work. */
  get started(): readonly Started[] {
    return this.#slots.started;
  }

  /** The agent alone ends and comes back; containers and scratch stay. */
  crashAgent(): void {
    this.#restart();
    this.#later(this.#random.int(50, 3_000), () => {
      this.#begin();
      this.#slots.helloAgain();
    });
  }

  /** The line ends and comes back: without its containers, and without its memory or even its disk when so told. */
  crash(lost: 'containers' | 'memory' | 'disk'): void {
    this.#restart();
    this.#slots.end();
    if (lost !== 'containers') this.#scratch.shards.clear();
    if (lost === 'disk') this.#ssd.clear();
    this.#later(this.#random.int(50, 20_000), () => {
      this.#begin();
    });
  }

  killContainer(slot: number): void {
    this.#slots.kill(slot);
  }

  revise(pipeline: LinePipeline, isValid: (stage: string) => boolean): void {
    this.#pipeline = pipeline;
    const known = new Map<string, KnownStream[]>();
    for (const [shardId, streams] of this.#scratch.shards) {
      // What is delivered is what it was made under.
      if (['delivering', 'ending'].includes(this.heart.residents.get(shardId)?.phase ?? '')) continue;
      for (const stream of streams) if (stream !== 'input' && !isValid(stream)) streams.delete(stream);
      known.set(shardId, this.#known(shardId));
    }
    for (const streams of this.#ssd.values()) for (const stream of streams) if (!isValid(stream)) streams.delete(stream);
    this.#slots.revise(isValid);
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
    this.#slots.end();
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
    this.#scratch.fenceAll();
    this.#wakes.clear();
  }

  #begin(): void {
    this.#isUp = true;
    this.#freed.clear();
    this.#coordinator.hello(this.name, this.heart.instance, new Set(this.#scratch.shards.keys()));
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
        this.#slots.swap(effect);
        return;
      case 'start':
        this.#slots.start(effect);
        return;
      case 'prepare':
        this.#slots.prepare(effect);
        return;
      case 'withdraw':
        this.#slots.withdraw(effect);
        return;
      case 'cancelRun':
        this.#slots.cancel(effect);
        return;
      case 'stageDone':
        this.#checkpoint(effect.shardId, effect.stage);
        return;
      case 'release':
        ensure(!this.heart.graph.results.includes(effect.stream), `the result ${effect.stream} is released`);
        ensure(!isRead(this.heart, effect.shardId, effect.stream), `${effect.stream} is released while a run reads it`);
        this.#scratch.shards.get(effect.shardId)?.delete(effect.stream);
        return;
      case 'deliver':
        this.#deliver(effect.shardId);
        return;
      case 'complete':
      case 'fail':
        this.#report(effect);
        return;
      case 'free':
        ensure(!this.#slots.runs(effect.shardId), `${effect.shardId} is freed while it runs`);
        this.#scratch.shards.delete(effect.shardId);
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
      const streams = this.#scratch.shards.get(shardId) ?? new Set<string>();
      for (const stream of this.#ssd.get(shardId) ?? []) streams.add(stream);
      streams.add('input');
      this.#scratch.shards.set(shardId, streams);
      this.#slots.beginPrepared(shardId);
      this.handle({ type: 'loaded', shardId, known: this.#known(shardId) });
    });
  }

  #known(shardId: string): KnownStream[] {
    return [...(this.#scratch.shards.get(shardId) ?? [])]
      .filter((stream) => stream !== 'input')
      .map((stream) => ({ stream, sealed: true }));
  }

  #checkpoint(shardId: string, stage: string): void {
    this.#later(this.#random.int(0, 300), () => {
      if (!this.#scratch.has(shardId, stage)) return;
      const streams = this.#ssd.get(shardId) ?? new Set();
      this.#ssd.set(shardId, streams.add(stage));
    });
  }

  #deliver(shardId: string): void {
    const streams = this.#scratch.shards.get(shardId);
    const isFirst = this.heart.residents.get(shardId)?.deliveries === 1;
    for (const stage of isFirst ? this.heart.graph.results : [])
      ensure(streams?.has(stage) === true, `the result ${stage} of ${shardId} is not there`);
    this.#later(this.#random.int(1, 50), () => {
      if (this.#random.chance(this.faults.deliveryFails))
        this.handle({ type: 'deliverFailed', shardId, error: simulatedError('PDL_RESULT_DIR', this.name) });
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
}
