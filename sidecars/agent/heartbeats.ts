/**
 * The heartbeat of a line: what there is to see goes to the coordinator, what it wants comes back as events.
 *
 * Invariants
 *  1. One heartbeat at a time; the next is due `heartbeatMs` after the answer to the one before.
 *  2. Events that were not heard go out again with the next one; of too many, the oldest are dropped.
 */
import type { EventType } from '../../runtime/contracts/events.js';
import { PodlineError } from '../../runtime/contracts/errors.js';
import { limits } from '../../runtime/contracts/limits.js';
import type { Heartbeat } from '../../runtime/contracts/line-api.js';
import type { Agent } from './agent.js';
import { UsageMeter } from './usage.js';

export class Heartbeats {
  #events: Heartbeat['events'] = [];
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  readonly #meter: UsageMeter;

  constructor(
    private readonly agent: Agent,
    shimPids: () => readonly number[],
  ) {
    this.#meter = new UsageMeter(
      () => [process.pid, ...shimPids()],
      () => agent.options.nowMs(),
    );
  }

  /** Puts an event on the next heartbeat. */
  note(type: EventType, shardId: string | undefined, data: Record<string, unknown>): void {
    if (this.#events.length >= limits.heartbeatEventsMax) this.#events.shift();
    this.#events.push({ type, data, ...(shardId === undefined ? {} : { shardId }) });
  }

  start(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.agent.track(
        this.beat().finally(() => {
          this.start();
        }),
      );
    }, limits.heartbeatMs);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** What has not been said yet, now: before the line goes, or before what it led to is told. */
  async sayRest(): Promise<void> {
    const { agent } = this;
    const events = this.#events.splice(0);
    if (events.length === 0) return;
    await agent.options.client.heartbeat({ ...agent.view(), events }).catch((thrown: unknown) => {
      agent.options.logger.warn({ err: PodlineError.from(thrown).message }, 'events were not heard');
    });
  }

  async beat(): Promise<void> {
    const { agent } = this;
    const events = this.#events.splice(0);
    try {
      const view = agent.view();
      const usage = this.#meter.look(view.scratch.usedBytes);
      const answer = await agent.options.client.heartbeat({ ...view, usage, events });
      for (const { shardId, epoch } of view.shards.filter((shard) => answer.lost.includes(shard.shardId))) {
        agent.dispatch({ type: 'leaseLost', shardId, epoch, reason: 'the coordinator says that the lease is no longer ours' });
      }
      for (const { slot, step, error } of answer.failedSwaps) agent.dispatch({ type: 'swapFailed', slot, step, error });
      if (answer.pipeline !== undefined) agent.revise(answer.pipeline);
      agent.dispatch({ type: answer.drain ? 'drain' : 'stay' });
      agent.dispatch({ type: 'paused', paused: answer.paused });
    } catch (thrown) {
      this.#events = [...events, ...this.#events].slice(-limits.heartbeatEventsMax);
      agent.options.logger.warn({ err: PodlineError.from(thrown).message }, 'a heartbeat was not heard');
    }
    agent.beaten();
  }
}
