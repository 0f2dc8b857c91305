/**
 * The lines that a coordinator knows, as they introduced themselves and last reported. In memory: after a restart they
 * say hello again.
 */
import { PodlineError, type WireError } from '../contracts/errors.js';
import type { Heartbeat, LineHello } from '../contracts/line-api.js';
import type { LineView } from '../contracts/views.js';
import type { HeldLease } from './leases.js';

export interface Line {
  name: string;
  hello: LineHello;
  group: string;
  lastHeardMs: number;
  draining: boolean;
  /** It has said nothing for longer than a lease lasts. */
  silent: boolean;
  /** Revision of the pipeline that was last sent to it. */
  revision: number;
  heartbeat?: Heartbeat | undefined;
  /** Shards of the process before this one, which are leased to it again with its first request. */
  reclaim: string[];
  /** The step that was last ordered for each slot: the same order again is not given twice. */
  ordered: Map<number, string>;
  /** By slot: the driver took the order for this step and could not carry it out. */
  failedSwaps: Map<number, { step: string; error: WireError }>;
}

export class Lines {
  readonly #lines = new Map<string, Line>();
  readonly #names = new Map<string, Set<string>>();
  /** By pipeline: lines that the driver has started and that have not said hello yet, and until when they are waited for. */
  readonly #expected = new Map<string, Map<string, { group: string; untilMs: number }>>();

  constructor(private readonly linesMax: number) {}

  /** Takes a line in, in place of one of the same name. */
  put(line: Line): void {
    const before = this.#lines.get(line.name);
    if (before === undefined && this.#lines.size >= this.linesMax) {
      throw new PodlineError('PDL_QUEUE_FULL', `${String(this.linesMax)} lines are known already`, {
        hint: 'Run fewer lines, or several coordinators.',
      });
    }
    if (before !== undefined) this.#names.get(before.hello.pipeline)?.delete(line.name);
    this.#lines.set(line.name, line);
    let names = this.#names.get(line.hello.pipeline);
    if (names === undefined) this.#names.set(line.hello.pipeline, (names = new Set()));
    names.add(line.name);
    this.#unexpect(line.name);
  }

  /** A line was started: until it says hello, or `untilMs`, others leave it its share of what waits. */
  expect(pipeline: string, group: string, name: string, untilMs: number): void {
    if (this.#lines.has(name)) return;
    const expected = this.#expected.get(pipeline);
    if (expected === undefined) this.#expected.set(pipeline, new Map([[name, { group, untilMs }]]));
    else expected.set(name, { group, untilMs });
  }

  find(name: string): Line | undefined {
    return this.#lines.get(name);
  }

  /** Throws PDL_LINE_UNKNOWN: it has not said hello, or the coordinator was restarted since. */
  get(name: string): Line {
    const line = this.#lines.get(name);
    if (line === undefined) throw new PodlineError('PDL_LINE_UNKNOWN', `there is no line ${name}`);
    return line;
  }

  drop(name: string): void {
    this.#unexpect(name);
    const line = this.#lines.get(name);
    if (line === undefined) return;
    this.#lines.delete(name);
    this.#names.get(line.hello.pipeline)?.delete(name);
  }

  all(): Line[] {
    return [...this.#lines.values()];
  }

  /** Lines of the pipeline that are not silent. */
  liveCount(pipeline: string): number {
    return this.of(pipeline).filter((line) => !line.silent).length;
  }

  /** Lines that share what waits for a group: those that are there, and those that are on their way. */
  sharerCount(pipeline: string, group: string, nowMs: number): number {
    let count = 0;
    // Asked with every lease: nothing is made for it.
    for (const name of this.#names.get(pipeline) ?? []) {
      const line = this.#lines.get(name);
      if (line !== undefined && !line.silent && !line.draining && line.group === group) count += 1;
    }
    for (const line of this.#expected.get(pipeline)?.values() ?? []) if (line.group === group && line.untilMs > nowMs) count += 1;
    return count;
  }

  of(pipeline: string): Line[] {
    return [...(this.#names.get(pipeline) ?? [])].map((name) => this.get(name));
  }

  #unexpect(name: string): void {
    for (const expected of this.#expected.values()) expected.delete(name);
  }
}

export function viewOf(line: Line, leases: readonly HeldLease[], nowMs: number): LineView {
  const { heartbeat, hello } = line;
  const silentMs = Math.max(0, nowMs - line.lastHeardMs);
  const told = new Map(heartbeat?.shards.map((shard) => [shard.shardId, shard]));
  return {
    line: line.name,
    pipeline: hello.pipeline,
    group: line.group,
    instance: hello.instance,
    node: hello.node,
    state: line.silent ? 'silent' : line.draining ? 'draining' : 'active',
    silentMs,
    revision: line.revision,
    slots: heartbeat?.slots ?? [],
    shards: leases.map(({ shardId, epoch }) => {
      const shard = told.get(shardId);
      return {
        shardId,
        epoch,
        stagesDone: shard?.stagesDone ?? [],
        running: shard?.running ?? [],
        ...(shard === undefined ? {} : { phase: shard.phase }),
        ...(shard?.checkpoints === undefined ? {} : { checkpoints: shard.checkpoints }),
      };
    }),
    ...(heartbeat === undefined ? {} : { scratch: heartbeat.scratch }),
    ...(heartbeat?.usage === undefined ? {} : { usage: heartbeat.usage }),
    ...(heartbeat?.waiting === undefined ? {} : { waiting: heartbeat.waiting }),
  };
}
