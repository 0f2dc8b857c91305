/**
 * Deadlines of leases: in memory only, judged by the coordinator's monotonic clock.
 *
 * Invariants
 *  1. A shard has at most one lease here, that of its newest epoch.
 *  2. What is here is running in the journal, or was until a transition that is under way; the journal has the last word.
 *  3. A lease whose answer was lost is found out by its line's next request, which says what has arrived, and goes back to the queue. One
 *     that a heartbeat has named has arrived, whatever a late request says.
 */
import type { ShardAtEpoch } from '../contracts/line-api.js';
import type { RunningShard } from '../journal/journal.js';

export interface HeldLease extends RunningShard {
  deadlineMs: number;
  /** Its line has named it in a heartbeat. */
  heard?: boolean | undefined;
}

export class Leases {
  readonly #byShard = new Map<string, HeldLease>();
  readonly #byLine = new Map<string, Map<string, HeldLease>>();

  get size(): number {
    return this.#byShard.size;
  }

  hold(lease: HeldLease): void {
    const before = this.#byShard.get(lease.shardId);
    if (before !== undefined) {
      if (before.epoch > lease.epoch) return;
      this.#byLine.get(before.line)?.delete(lease.shardId);
    }
    this.#byShard.set(lease.shardId, lease);
    let held = this.#byLine.get(lease.line);
    if (held === undefined) this.#byLine.set(lease.line, (held = new Map<string, HeldLease>()));
    held.set(lease.shardId, lease);
  }

  get(shardId: string): HeldLease | undefined {
    return this.#byShard.get(shardId);
  }

  /** True when the line still has it; then it has it until `deadlineMs`. */
  renew(line: string, shardId: string, epoch: number, deadlineMs: number): boolean {
    const lease = this.#byShard.get(shardId);
    if (lease?.line !== line || lease.epoch !== epoch) return false;
    lease.deadlineMs = deadlineMs;
    lease.heard = true;
    return true;
  }

  /** Forgets a lease; of a newer epoch than the one named it forgets nothing. */
  drop(shardId: string, epoch = Number.POSITIVE_INFINITY): void {
    const lease = this.#byShard.get(shardId);
    if (lease === undefined || lease.epoch > epoch) return;
    this.#byShard.delete(shardId);
    const held = this.#byLine.get(lease.line);
    held?.delete(shardId);
    if (held?.size === 0) this.#byLine.delete(lease.line);
  }

  clear(): void {
    this.#byShard.clear();
    this.#byLine.clear();
  }

  ofLine(line: string): HeldLease[] {
    return [...(this.#byLine.get(line)?.values() ?? [])];
  }

  /** What this process of the line was given and does not know of, as it seems: the answer was lost. */
  unheard(line: string, instance: string, known: readonly ShardAtEpoch[]): HeldLease[] {
    const epochs = new Map(known.map(({ shardId, epoch }) => [shardId, epoch]));
    return this.ofLine(line).filter(
      (lease) => lease.instance === instance && lease.heard !== true && epochs.get(lease.shardId) !== lease.epoch,
    );
  }

  /** Those whose time is over. */
  due(nowMs: number): HeldLease[] {
    return [...this.#byShard.values()].filter((lease) => lease.deadlineMs <= nowMs);
  }

  nextDeadlineMs(): number | undefined {
    let next: number | undefined;
    for (const { deadlineMs } of this.#byShard.values()) if (next === undefined || deadlineMs < next) next = deadlineMs;
    return next;
  }
}
