/** A model of the coordinator: the real decisions of `line/queue.ts` over a journal that is a map. */
import type { WireError } from '../../runtime/contracts/errors.js';
import type { Lease } from '../../runtime/contracts/line-api.js';
import { limits } from '../../runtime/contracts/limits.js';
import { isLeaseOver, planGrant, planRetry } from '../../runtime/line/queue.js';
import type { Clock } from './clock.js';
import { affinityWaitMs, PendingQueue } from './pending.js';

export interface SimulatedShard {
  id: string;
  order: number;
  state: 'pending' | 'running' | 'completed' | 'failed';
  epoch: number;
  attempts: number;
  line?: string;
  renewedMs: number;
  /** Lines that completed it, in order. */
  completions: string[];
  error?: WireError;
}

interface Waiter {
  line: string;
  max: number;
  answer: (leases: Lease[], queued: number) => void;
}

export class Coordinator {
  readonly shards = new Map<string, SimulatedShard>();
  readonly #pending = new PendingQueue();
  readonly #clock: Clock;
  readonly #retries: { limit: number; backoff: { initialMs: number; factor: number; maxMs: number } };
  /** Lines by name: when they were last heard of, and as which instance. */
  readonly #lines = new Map<string, { instance: string; heardMs: number }>();
  #waiters: Waiter[] = [];
  unended = 0;

  constructor(clock: Clock, retriesLimit: number) {
    this.#clock = clock;
    this.#retries = { limit: retriesLimit, backoff: { initialMs: 1_000, factor: 2, maxMs: 10_000 } };
  }

  submit(id: string): void {
    const shard: SimulatedShard = {
      id,
      order: this.shards.size,
      state: 'pending',
      epoch: 0,
      attempts: 0,
      renewedMs: 0,
      completions: [],
    };
    this.shards.set(id, shard);
    this.unended += 1;
    this.#enqueue(shard, 0);
  }

  /** An agent is there anew: what its line held under another instance is pending again, for this line first if it still has it. */
  hello(line: string, instance: string, residents: ReadonlySet<string>): void {
    this.#lines.set(line, { instance, heardMs: this.#clock.nowMs });
    this.#waiters = this.#waiters.filter((waiter) => waiter.line !== line);
    if (residents.size === 0) this.#pending.forgetLine(line);
    for (const shard of this.shards.values()) {
      if (shard.state === 'running' && shard.line === line) this.#takeBack(shard, residents.has(shard.id));
    }
  }

  /** The line was ended. */
  leave(line: string): void {
    this.#lines.delete(line);
    this.#pending.forgetLine(line);
    this.#waiters = this.#waiters.filter((waiter) => waiter.line !== line);
  }

  get queued(): number {
    return this.#pending.size;
  }

  runningOn(line: string): SimulatedShard[] {
    return [...this.shards.values()].filter((shard) => shard.state === 'running' && shard.line === line);
  }

  /** Renews; answers with the shards that the line no longer has. */
  heartbeat(line: string, instance: string, held: readonly { id: string; epoch: number }[]): string[] {
    const known = this.#lines.get(line);
    if (known?.instance === instance) known.heardMs = this.#clock.nowMs;
    else this.#lines.set(line, { instance, heardMs: this.#clock.nowMs });
    for (const { id, epoch } of held) {
      const shard = this.shards.get(id);
      if (shard !== undefined && this.#holds(line, id, epoch)) shard.renewedMs = this.#clock.nowMs;
    }
    return held.filter(({ id, epoch }) => !this.#holds(line, id, epoch)).map(({ id }) => id);
  }

  /** `held`: what has arrived at the line. What else it was given goes back to the queue first. */
  lease(
    line: string,
    held: readonly { id: string; epoch: number }[],
    max: number,
    waitMs: number,
    answer: Waiter['answer'],
  ): void {
    for (const shard of this.runningOn(line))
      if (!held.some(({ id, epoch }) => id === shard.id && epoch === shard.epoch)) this.#takeBack(shard, false);
    const waiter = { line, max, answer };
    if (this.#serve(waiter)) return;
    if (waitMs === 0) {
      answer([], this.#pending.size);
      return;
    }
    this.#waiters.push(waiter);
    this.#clock.after(waitMs, () => {
      if (!this.#waiters.includes(waiter)) return;
      this.#waiters = this.#waiters.filter((other) => other !== waiter);
      answer([], this.#pending.size);
    });
  }

  /** Whether it was taken, now or before; else the lease was lost. */
  complete(line: string, id: string, epoch: number): boolean {
    const shard = this.shards.get(id);
    if (shard?.state === 'completed' && shard.line === line && shard.epoch === epoch) return true;
    if (shard === undefined || !this.#holds(line, id, epoch)) return false;
    shard.state = 'completed';
    shard.completions.push(line);
    this.unended -= 1;
    return true;
  }

  fail(line: string, id: string, epoch: number, error: WireError, counts: boolean): boolean {
    const shard = this.shards.get(id);
    if (shard === undefined || !this.#holds(line, id, epoch)) return false;
    if (!counts) {
      this.#takeBack(shard, false);
      return true;
    }
    const plan = planRetry(shard.attempts, this.#retries, error.retry === 'later', this.#clock.nowMs);
    shard.attempts = plan.attempts;
    shard.error = error;
    if (plan.outcome === 'retry') {
      shard.state = 'pending';
      this.#enqueue(shard, plan.notBeforeMs);
    } else {
      shard.state = 'failed';
      this.unended -= 1;
    }
    return true;
  }

  /** Ends a lease as an operator or a broken clock might. */
  revoke(id: string): void {
    const shard = this.shards.get(id);
    if (shard?.state === 'running') this.#takeBack(shard, false);
  }

  /** Looks for lines that were not heard of; to be called now and then. */
  expire(): void {
    for (const [line, { heardMs }] of this.#lines) {
      if (heardMs + limits.leaseTtlMs > this.#clock.nowMs) continue;
      this.#lines.delete(line);
      this.#pending.forgetLine(line);
    }
    for (const shard of this.shards.values())
      if (shard.state === 'running' && isLeaseOver(shard.renewedMs, limits.leaseTtlMs, this.#clock.nowMs))
        this.#takeBack(shard, false);
    this.#wake();
  }

  #holds(line: string, id: string, epoch: number): boolean {
    const shard = this.shards.get(id);
    return shard?.state === 'running' && shard.line === line && shard.epoch === epoch;
  }

  #takeBack(shard: SimulatedShard, isThere: boolean): void {
    shard.state = 'pending';
    this.#enqueue(shard, 0, isThere ? shard.line : undefined);
  }

  #enqueue(shard: SimulatedShard, notBeforeMs: number, line?: string): void {
    this.#pending.add({
      id: shard.id,
      priority: 5,
      order: shard.order,
      notBeforeMs,
      affinity: line === undefined ? undefined : { line, untilMs: this.#clock.nowMs + affinityWaitMs },
    });
    this.#clock.at(Math.max(notBeforeMs, this.#clock.nowMs), () => {
      this.#wake();
    });
    if (line !== undefined)
      this.#clock.after(affinityWaitMs, () => {
        this.#wake();
      });
  }

  #wake(): void {
    for (const waiter of [...this.#waiters]) {
      if (this.#serve(waiter)) this.#waiters = this.#waiters.filter((other) => other !== waiter);
    }
  }

  #serve({ line, max, answer }: Waiter): boolean {
    const granted = this.#pending.take(line, planGrant(max, this.#pending.size, this.#lines.size), this.#clock.nowMs);
    if (granted.length === 0) return false;
    const leases = granted.map(({ id }): Lease => {
      const shard = this.shards.get(id);
      if (shard === undefined) throw new Error(`no shard ${id}`);
      shard.state = 'running';
      shard.epoch += 1;
      shard.line = line;
      shard.renewedMs = this.#clock.nowMs;
      return {
        shardId: id,
        key: id,
        epoch: shard.epoch,
        attempts: shard.attempts,
        source: { inline: 0, format: 'bytes' },
        parameters: {},
        resultDir: '/results',
      };
    });
    answer(leases, this.#pending.size);
    return true;
  }
}
