/** Lines and a coordinator in virtual time, with faults until a given moment, run to the end. */
import type { LineConfig, LinePipeline } from '../../runtime/line/types.js';
import { Clock } from './clock.js';
import { Coordinator } from './coordinator.js';
import { ensure } from './invariants.js';
import { noFaults, type Faults, type Times } from './faults.js';
import { SimulatedLine } from './line.js';
import { randomRevision } from './pipelines.js';
import { Random } from './random.js';

export interface WorldOptions {
  seed: number;
  pipeline: LinePipeline;
  lines: number;
  shards: number;
  config?: Partial<LineConfig>;
  times?: Partial<Times>;
  faults?: Partial<Faults>;
  /** Mean time between crashes, revoked leases, partitions and deaths of idle containers, each; absent: none. */
  trouble?: { meanMs: number; untilMs: number };
  /** Revisions of the pipeline while shards are on the lines, at random moments. */
  revisions?: number;
  retriesLimit?: number;
  eventsMax?: number;
}

export interface World {
  clock: Clock;
  random: Random;
  coordinator: Coordinator;
  lines: SimulatedLine[];
}

export function makeWorld(options: WorldOptions): World {
  const clock = new Clock();
  const random = new Random(options.seed);
  const coordinator = new Coordinator(clock, options.retriesLimit ?? 1_000);
  for (let at = 0; at < options.shards; at += 1) coordinator.submit(`shard${String(at)}`);
  const config: LineConfig = {
    slots: 2,
    residentsMax: 4,
    cores: 2,
    stageBackoff: { initialMs: 100, factor: 2, maxMs: 5_000 },
    scratchBytesMax: 1_000_000,
    ...options.config,
  };
  const times: Times = { swapMs: [200, 2_000], runMs: [10, 1_000], loadMs: [10, 500], ...options.times };
  const faults: Faults = { ...noFaults, ...options.faults };
  const world = { clock, random, coordinator, config, times, pipeline: options.pipeline, faults };
  const lines = Array.from({ length: options.lines }, (_, at) => new SimulatedLine(`line-${String(at)}`, world));
  const expire = (): void => {
    coordinator.expire();
    clock.after(1_000, expire);
  };
  expire();
  if (options.trouble !== undefined) makeTrouble({ clock, random, coordinator, lines }, options.trouble);
  let pipeline = options.pipeline;
  for (let at = 0; at < (options.revisions ?? 0); at += 1) {
    clock.at(random.int(1, 60_000), () => {
      const next = randomRevision(random, pipeline);
      pipeline = next.pipeline;
      for (const line of lines) line.revise(pipeline, next.isValid);
    });
  }
  return { clock, random, coordinator, lines };
}

/** Where everything stands: for the message of a run that did not end. */
export function describeWorld({ coordinator, lines }: World): string {
  const shards = [...coordinator.shards.values()].filter((shard) => shard.state === 'pending' || shard.state === 'running');
  const hearts = lines.map(({ name, heart }) => ({
    name,
    slots: heart.slots,
    troubles: [...heart.troubles],
    leasing: heart.leasing,
    residents: [...heart.residents.values()].map((resident) => ({
      ...resident,
      lease: `${resident.lease.shardId}@${String(resident.lease.epoch)}`,
      stages: [...resident.stages].filter(([, at]) => at.phase !== 'done'),
      released: undefined,
    })),
  }));
  return JSON.stringify({ shards, hearts }, undefined, 1);
}

/** To the end of all shards, and then until every line has freed what it held. */
export function runToEnd({ clock, coordinator, lines }: World, eventsMax = 200_000): void {
  clock.run(() => coordinator.unended === 0, eventsMax);
  ensure(coordinator.unended === 0, `${String(coordinator.unended)} shards have no end`);
  for (const line of lines) line.partitioned = false;
  clock.run(() => lines.every((line) => line.heart.residents.size === 0), eventsMax);
  for (const shard of coordinator.shards.values()) {
    if (shard.state === 'failed')
      ensure(shard.error !== undefined && shard.completions.length === 0, `${shard.id} failed without a reason`);
    else
      ensure(
        shard.state === 'completed' && shard.completions.length === 1,
        `${shard.id} is ${shard.state}, completed ${String(shard.completions.length)} times`,
      );
  }
}

function makeTrouble(
  { clock, random, coordinator, lines }: World,
  { meanMs, untilMs }: { meanMs: number; untilMs: number },
): void {
  const repeatedly = (act: () => void): void => {
    const again = (): void => {
      clock.after(random.int(1, 2 * meanMs), () => {
        if (clock.nowMs >= untilMs) return;
        act();
        again();
      });
    };
    again();
  };
  const anyLine = (): SimulatedLine => {
    const line = lines[random.int(0, lines.length - 1)];
    if (line === undefined) throw new Error('no lines');
    return line;
  };
  repeatedly(() => {
    anyLine().crashAgent();
  });
  repeatedly(() => {
    anyLine().crash((['containers', 'memory', 'disk'] as const)[random.int(0, 2)] ?? 'disk');
  });
  repeatedly(() => {
    const line = anyLine();
    line.killContainer(random.int(0, line.heart.slots.length - 1));
  });
  repeatedly(() => {
    coordinator.revoke(`shard${String(random.int(0, coordinator.shards.size - 1))}`);
  });
  repeatedly(() => {
    anyLine().drain(random.chance(0.5) ? undefined : clock.nowMs + random.int(1, 10_000));
  });
  repeatedly(() => {
    const line = anyLine();
    line.partitioned = true;
    clock.after(random.int(100, 30_000), () => {
      line.partitioned = false;
    });
  });
  clock.at(untilMs, () => {
    for (const line of lines) line.faults = noFaults;
  });
}
