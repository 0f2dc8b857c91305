/** Looks at a pipeline until all its shards have ended, and shows what it sees. */
import type { PodlineClient } from '../api/client.js';
import type { Counts } from '../contracts/views.js';
import type { Pipeline } from '../contracts/manifest.js';
import { LiveView } from './live-view.js';
import { endedOf, totalOf, type RunSnapshot } from './snapshot.js';

export interface WatchOptions {
  client: PodlineClient;
  pipeline: Pipeline;
  /** Ends the watching early. */
  signal: AbortSignal;
  /** `live`: drawn in place; `plain`: a line for each thing that happens; `none`. */
  view: 'live' | 'plain' | 'none';
  out: NodeJS.WriteStream;
}

/** How often the live view is drawn again. */
const drawEveryMs = 200;

/** Resolves with the counts when no shard is pending or running any more, or when the signal says so. */
export async function watchUntilDone(options: WatchOptions): Promise<Counts> {
  const { client, pipeline, signal, out } = options;
  const startedMs = performance.now();
  const live = options.view === 'live' ? new LiveView(out) : undefined;
  const alarm = new Alarm(signal);
  const events = tellEvents(options, alarm);
  const endedAtStart = endedOf((await client.pipeline(pipeline.name)).counts);
  try {
    for (;;) {
      const { counts } = await client.pipeline(pipeline.name);
      if ((counts.pending === 0 && counts.running === 0) || signal.aborted) return counts;
      if (live !== undefined) live.draw(await look(options, counts, performance.now() - startedMs, endedAtStart));
      await alarm.wait(drawEveryMs);
    }
  } finally {
    live?.close();
    alarm.stop();
    await events;
  }
}

async function look(
  { client, pipeline }: WatchOptions,
  counts: Counts,
  elapsedMs: number,
  endedAtStart: number,
): Promise<RunSnapshot> {
  const lines = await client.lines();
  const ended = endedOf(counts) - endedAtStart;
  const left = totalOf(counts) - endedOf(counts);
  return {
    pipeline: pipeline.name,
    stages: pipeline.stages.map((stage) => stage.name),
    elapsedMs,
    counts,
    lines: lines
      .filter((line) => line.pipeline === pipeline.name)
      .map((line) => ({
        line: line.line,
        slots: line.slots,
        shards: line.shards.map((shard) => ({ ...shard, phase: shard.phase ?? 'queued' })),
        scratch: line.scratch ?? { usedBytes: 0, sizeBytesMax: 0, spilledBytes: 0, reads: 'mmap' },
        ...(line.waiting === undefined ? {} : { waiting: line.waiting }),
      })),
    ...(ended > 0 ? { leftMs: (elapsedMs / ended) * left } : {}),
  };
}

const plainEvents: Record<string, (data: Record<string, unknown>) => string> = {
  'shard.leased': (data) => `leased, epoch ${text(data.epoch)}`,
  'shard.loaded': (data) => `loaded ${text(data.rows)} rows in ${text(data.ms)} ms`,
  'shard.resumed': (data) => `resumed from ${text(data.from)}`,
  'stage.completed': (data) => `stage ${text(data.stage)} done, ${text(data.rows)} rows`,
  'stage.failed': (data) => `stage ${text(data.stage)} failed: ${text(data.code)} ${text(data.message)}`,
  'checkpoint.written': (data) => `checkpoint on ${text(data.place)}: ${text(data.streams)}`,
  'checkpoint.failed': (data) => `no checkpoint on ${text(data.place)}: ${text(data.message)}`,
  'checkpoint.refused': (data) => `checkpoint not used: ${text(data.why)}`,
  'scratch.spilled': (data) => `scratch full: ${text(data.stream)} moved to SSD`,
  'shard.completed': () => 'completed',
  'shard.retried': (data) => `will be tried again: ${text(data.message ?? data.reason)}`,
  'shard.failed': (data) => `failed: ${text(data.message ?? data.code)}`,
};
const text = (value: unknown): string =>
  typeof value === 'string' ? value : Array.isArray(value) ? value.join(', ') : String(value);
/** Of very many shards, only the endings are worth a line each. */
const talkativeShardsMax = 20;

async function tellEvents({ client, pipeline, view, out, signal }: WatchOptions, alarm: Alarm): Promise<void> {
  const { counts } = await client.pipeline(pipeline.name);
  const talkative = totalOf(counts) <= talkativeShardsMax;
  for await (const event of client.events({ pipeline: pipeline.name, signal: AbortSignal.any([signal, alarm.stopped]) })) {
    const ending = event.type === 'shard.completed' || event.type === 'shard.failed' || event.type === 'shard.cancelled';
    if (ending) alarm.ring();
    const words = plainEvents[event.type];
    if (view !== 'plain' || words === undefined || (!talkative && event.type !== 'shard.failed')) continue;
    out.write(`${event.at.slice(11, 19)} ${event.shardId ?? event.line ?? pipeline.name} ${words(event.data)}\n`);
  }
}

/** A wait that something can cut short. */
class Alarm {
  readonly #stop = new AbortController();
  #ring: () => void = () => undefined;

  constructor(signal: AbortSignal) {
    signal.addEventListener('abort', () => {
      this.#ring();
    });
  }

  get stopped(): AbortSignal {
    return this.#stop.signal;
  }

  ring(): void {
    this.#ring();
  }

  stop(): void {
    this.#stop.abort();
    this.#ring();
  }

  async wait(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#ring = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
