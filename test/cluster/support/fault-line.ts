/** A line whose stages can be held, struck by one failure after the other, and what came of each. */
import { onTestFailed } from 'vitest';
import type { PodlineClient } from '../../../runtime/api/client.js';
import type { PodlineEvent } from '../../../runtime/contracts/events.js';
import type { Shard } from '../../../runtime/contracts/shard.js';
import { eventually, kubectl, kubectlJson, type Pod } from './cluster.js';
import { heldInput, type Call, type HeldStage, type Holds } from './held-stages.js';
import { SeenStatus } from './seen-status.js';

export interface Strike {
  /** Where the shard is held while the failure comes about. */
  at: readonly [stage: HeldStage, block: number];
  how?: 'wait' | 'grow';
  /** Brings the failure about; with the block held. */
  inject: (key: string) => Promise<void>;
  /** The held block is begun anew, and is let go only then. Otherwise it is let go at once. */
  again?: boolean;
  /** The stage whose first call is the proof that work goes on; any, without it. */
  proof?: HeldStage;
  /** After the block was let go: what ends a failure that lasts. */
  mend?: (key: string) => Promise<void>;
}

/** What came of a failure. */
export interface Struck {
  key: string;
  shard: Shard;
  calls: Call[];
  /** `stage.block` of what was worked on more than once. */
  repeated: string[];
  /** How often each stage was run under the lease that completed the shard. */
  runs: Record<string, number>;
  /** From the beginning of the failure to the first block that was worked on behind it. */
  backMs: number;
  /** From there to the delivery. */
  endMs: number;
  /** Conditions of the pipeline that were seen meanwhile. */
  conditions: string[];
  /** Types of Podline's events of the shard and the line. */
  told: string[];
  events: PodlineEvent[];
}

/** What is told of every shard. */
const everyday =
  /^(shard.(submitted|leased|loaded|delivered|completed)|stage.(started|completed)|checkpoint.written|slot.swapped)$/;
/** Conditions of a line that works or rests. */
const ordinary = /^(Ready=True|Progressing=(True Working|False Idle)|Degraded=False|Complete=(True|Unknown))/;

export const seconds = (ms: number): string => (ms / 1_000).toFixed(1);

/** What was in the status meanwhile, beyond what is there on every day. */
export const amissIn = ({ conditions }: Struck): string[] => conditions.filter((word) => !ordinary.test(word));

/** A row of the figures. */
export const figureOf = (failure: string, struck: Struck): object => {
  const { repeated, shard, backMs, endMs, told } = struck;
  return {
    failure,
    repeatedBlocks: repeated.join(' '),
    resumedFrom: shard.report?.resumedFrom,
    leases: shard.epoch,
    backS: seconds(backMs),
    deliveredS: seconds(endMs),
    told: told.filter((type) => !everyday.test(type)).join(' '),
    conditions: amissIn(struck).join(', '),
  };
};

const endedMs = 240_000;

/** How long an outage lasts is part of the failure: nothing is expected to have come about by then. */
export const lasting = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class FaultLine {
  readonly status: SeenStatus;
  #strikes = 0;

  constructor(
    readonly namespace: string,
    readonly pipeline: string,
    readonly client: PodlineClient,
    readonly holds: Holds,
  ) {
    this.status = new SeenStatus(namespace, pipeline);
  }

  /** Of its pod, and of the line. */
  get name(): string {
    return `${this.pipeline}-0`;
  }

  pod(): Promise<Pod> {
    return kubectlJson<Pod>('-n', this.namespace, 'get', 'pod', this.name);
  }

  kubectl(...args: string[]): Promise<string> {
    return kubectl('-n', this.namespace, ...args);
  }

  async submit(key: string): Promise<string> {
    const { source, format } = heldInput;
    const answer = await this.client.submit(this.pipeline, { key, source: { ...source, format } });
    if (answer.outcome === 'rejected') throw new Error(answer.error.message);
    return answer.id;
  }

  /** The stage has come to the block of the shard, for the `times`th time. */
  came(key: string, stage: HeldStage, block: number, times = 1): Promise<Call> {
    return eventually(
      `${stage} at block ${String(block)} of ${key}, the ${String(times)}. time`,
      async () => (await this.holds.calls(key)).filter((call) => call.stage === stage && call.block === block)[times - 1],
      endedMs,
    );
  }

  /** The slot that holds the stage, once its shim has said so. */
  slotOf(stage: HeldStage, ...phases: string[]): Promise<number> {
    return eventually(`a slot of ${stage}, ${phases.join(' or ')}`, async () => {
      const { slots } = await this.client.line(this.name);
      return slots.find((slot) => slot.stage === stage && phases.includes(slot.phase))?.slot;
    });
  }

  async ended(id: string): Promise<Shard> {
    const ended = await eventually(
      `the end of shard ${id}`,
      async () => {
        const shard = await this.client.get(id);
        return shard.state === 'completed' || shard.state === 'failed' ? shard : undefined;
      },
      endedMs,
    );
    if (ended.state === 'failed') throw new Error(`the shard failed: ${ended.error?.message ?? ''}`);
    return ended;
  }

  async strike(title: string, { at: [stage, block], how, inject, again, proof, mend }: Strike): Promise<Struck> {
    const key = `${String((this.#strikes += 1))}-${title.replace(/[^a-z]+/gi, '-').toLowerCase()}`;
    const mark = this.status.mark;
    const after = await this.client.lastEventId();
    onTestFailed(() => this.#tell(key, after));
    await this.holds.hold(key, stage, block, how);
    const id = await this.submit(key);
    await this.came(key, stage, block);
    const beganMs = Date.now();
    await inject(key);
    if (again === true) await this.came(key, stage, block, 2);
    await this.holds.release(key, stage, block);
    await mend?.(key);
    const shard = await this.ended(id);
    const calls = await this.holds.calls(key);
    const events = await this.#eventsOf(id, after);
    const behind = calls.filter(({ atMs, stage: of }) => atMs > beganMs && (proof === undefined || of === proof));
    const counts = countOf(calls);
    return {
      key,
      shard,
      calls,
      repeated: [...counts].flatMap(([name, count]) => (count > 1 ? [name] : [])).sort(),
      runs: Object.fromEntries(shard.report?.stages.map((of) => [of.stage, of.runs]) ?? []),
      backMs: Math.min(...behind.map(({ atMs }) => atMs)) - beganMs,
      endMs: Date.parse(shard.endedAt ?? '') - beganMs,
      conditions: this.status.since(mark),
      told: [...new Set(events.map(({ type }) => type))],
      events,
    };
  }

  close(): void {
    this.status.close();
  }

  /** For whoever looks into a test that failed: each call of a stage, what was told meanwhile, and the coordinator's own words. */
  async #tell(key: string, after: number): Promise<void> {
    const calls = (await this.holds.calls(key)).map(
      ({ stage, block, pid, node, atMs }) =>
        `${new Date(atMs).toISOString()} ${stage}.${String(block)}, process ${String(pid)} on node ${String(node)}`,
    );
    const last = await this.client.lastEventId();
    const events: string[] = [];
    if (last > after)
      for await (const { id, at, type, data } of this.client.events({ after, pipeline: this.pipeline })) {
        events.push(`${at} ${type} ${JSON.stringify(data)}`);
        if (id >= last) break;
      }
    const log = await this.kubectl('logs', 'podline-coordinator-0', '--tail=100').catch(String);
    console.error([`--- ${key}`, ...calls, '--- events', ...events, '--- the coordinator', log].join('\n'));
  }

  /** Of the shard, and of the line, up to the end of the shard. */
  async #eventsOf(id: string, after: number): Promise<PodlineEvent[]> {
    const events: PodlineEvent[] = [];
    for await (const event of this.client.events({ after, pipeline: this.pipeline })) {
      if (event.shardId === undefined || event.shardId === id) events.push(event);
      if (event.shardId === id && event.type === 'shard.completed') break;
    }
    return events;
  }
}

function countOf(calls: readonly Call[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { stage, block } of calls) {
    const name = `${stage}.${String(block)}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}
