/** Looks at a pipeline until all its shards have ended, and shows what it sees. */
import type { PodlineClient } from '../api/client.js';
import { addBytes, noBytes, type BytesByMedium } from '../contracts/block.js';
import type { Counts } from '../contracts/views.js';
import type { Pipeline } from '../contracts/manifest.js';
import { bytesByMediumSchema, type Shard } from '../contracts/shard.js';
import { LiveView } from './live-view.js';
import { endedOf, totalOf, type RunSnapshot } from './snapshot.js';
import { talkativeShardsMax, Teller } from './teller.js';

export interface WatchOptions {
  client: PodlineClient;
  pipeline: Pipeline;
  /** Ends the watching early. */
  signal: AbortSignal;
  /** `live`: drawn in place; `plain`: a line for each thing that happens; `none`. */
  view: 'live' | 'plain' | 'none';
  out: NodeJS.WriteStream;
  /** Id of the event behind which the telling begins. */
  after: number;
  /** Called when all shards have ended, before the last is told: lines that end say what they have not said yet. */
  settle: () => Promise<void>;
}

/** How often it is looked and the live view drawn again. */
const lookEveryMs = 200;

/** Resolves with the counts when no shard is pending or running any more, or when the signal says so. */
export async function watchUntilDone(options: WatchOptions): Promise<Counts> {
  const { client, pipeline, signal, out } = options;
  const startedMs = performance.now();
  const live = options.view === 'live' ? new LiveView(out) : undefined;
  const few = await fewShards(options);
  const keys = new Map(few?.map((shard) => [shard.id, shard.key]));
  const teller = options.view === 'plain' ? new Teller(out, keys, few !== undefined) : undefined;
  const alarm = new Alarm(signal);
  const open = few?.filter((shard) => shard.state === 'pending' || shard.state === 'running').map((shard) => shard.id);
  const listener = new Listener(options, teller, alarm, new Set(open));
  const endedAtStart = endedOf((await client.pipeline(pipeline.name)).counts);
  try {
    for (;;) {
      const { counts } = await client.pipeline(pipeline.name);
      if (signal.aborted) return counts;
      if (counts.pending === 0 && counts.running === 0) {
        teller?.over();
        await options.settle();
        return counts;
      }
      if (live !== undefined || teller?.isQuiet === true) {
        const seen = await look(options, counts, performance.now() - startedMs, endedAtStart);
        const snapshot = { ...seen, moved: listener.moved };
        live?.draw(snapshot);
        teller?.standing(snapshot);
      }
      await alarm.wait(lookEveryMs);
    }
  } finally {
    live?.close();
    await listener.end();
  }
}

async function look(
  { client, pipeline }: WatchOptions,
  counts: Counts,
  elapsedMs: number,
  endedAtStart: number,
): Promise<Omit<RunSnapshot, 'moved'>> {
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
    ...(counts.running === 0 && counts.pending > 0 ? await whyWaiting(client, pipeline.name) : {}),
  };
}

/** Nothing runs and something waits: for what. */
async function whyWaiting(client: PodlineClient, name: string): Promise<{ waiting?: string }> {
  const [first] = (await client.list(name, { state: 'pending', max: 1 })).shards;
  return first === undefined ? {} : { waiting: (await client.explain(first.id)).because.join(' ') };
}

/** All shards, where they are few enough to tell of each. */
async function fewShards({ client, pipeline }: WatchOptions): Promise<Shard[] | undefined> {
  if (totalOf((await client.pipeline(pipeline.name)).counts) > talkativeShardsMax) return undefined;
  const shards: Shard[] = [];
  for await (const shard of client.listAll(pipeline.name)) shards.push(shard);
  return shards;
}

/** Hears what happens: tells it, and rings when a shard has ended. */
class Listener {
  readonly #stop = new AbortController();
  readonly #heard: Promise<void>;
  readonly moved: BytesByMedium = noBytes();
  #at: number;
  #until = Number.POSITIVE_INFINITY;

  /** `open`: shards whose end will be heard. Counts are seen before events are on disk, so that the last id may be behind them. */
  constructor(
    private readonly options: WatchOptions,
    private readonly teller: Teller | undefined,
    private readonly alarm: Alarm,
    private readonly open: Set<string>,
  ) {
    this.#at = options.after;
    this.#heard = this.#hear();
    // It is thrown where it is awaited.
    this.#heard.catch(() => undefined);
  }

  /** Hears what has happened up to now, and no more; nothing of it when the watching was ended early. */
  async end(): Promise<void> {
    const { client, signal } = this.options;
    this.#until = signal.aborted ? 0 : await client.lastEventId();
    if (this.#isAll() || signal.aborted) this.#stop.abort();
    await this.#heard;
  }

  async #hear(): Promise<void> {
    const { client, pipeline, after, signal } = this.options;
    // Without the pipeline's name, so that the event with the last id is heard whosever it is.
    for await (const event of client.events({ after, signal: AbortSignal.any([signal, this.#stop.signal]) })) {
      this.#at = event.id;
      if (event.pipeline === pipeline.name) {
        this.teller?.tell(event);
        const bytes = bytesByMediumSchema.safeParse(event.data['bytes']);
        if (bytes.success) addBytes(this.moved, bytes.data);
        if (/^shard\.(completed|failed|cancelled)$/.test(event.type)) {
          this.open.delete(event.shardId ?? '');
          this.alarm.ring();
        }
      }
      if (this.#isAll()) return;
    }
  }

  #isAll(): boolean {
    return this.#at >= this.#until && this.open.size === 0;
  }
}

/** A wait that something can cut short. */
class Alarm {
  #ring: () => void = () => undefined;

  constructor(signal: AbortSignal) {
    signal.addEventListener('abort', () => {
      this.#ring();
    });
  }

  ring(): void {
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
