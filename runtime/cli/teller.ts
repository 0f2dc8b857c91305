/** Tells a run in plain lines, for logs and pipes: one for each thing that happens, and, when nothing does for a while, where it stands. */
import type { PodlineEvent } from '../contracts/events.js';
import { formatBytes, formatCount, formatDuration } from '../config/units.js';
import { endedOf, totalOf, type RunSnapshot } from './snapshot.js';

/** Of very many shards, only failures are worth a line each. */
export const talkativeShardsMax = 20;
/** Silence after which a line says how far the run is. */
const quietMs = 5_000;

type Data = Record<string, unknown>;

const sentences: Partial<Record<PodlineEvent['type'], (data: Data, event: PodlineEvent) => string>> = {
  'line.joined': () => 'is there',
  'line.lost': (data) => `is lost: ${text(data.reason)}`,
  'slot.lost': (data) => `lost the process of slot ${text(data.slot)}, which held stage ${text(data.stage)}`,
  'shard.leased': (_, event) => `taken up by line ${event.line ?? '?'}`,
  'shard.loaded': (data) => `loaded ${amount(data)} in ${formatDuration(Number(data.ms))}`,
  'shard.resumed': (data) => `goes on from ${text(data.from ?? data.stage)}`,
  'stage.completed': (data) => `stage ${text(data.stage)} done, ${amount(data)} in ${formatDuration(Number(data.workMs))}`,
  'stage.failed': (data) => `stage ${text(data.stage)} failed: ${text(data.code)} ${text(data.message)}`,
  'checkpoint.failed': (data) => `no checkpoint on ${text(data.place)}: ${text(data.message)}`,
  'checkpoint.refused': (data) => `checkpoint not used: ${text(data.why)}`,
  'scratch.spilled': (data) => `scratch full: ${text(data.stream)} moved to SSD`,
  'shard.completed': (data) => `completed: ${text(data.dir)}`,
  'shard.retried': (data) => `goes back into the queue${wait(data)}: ${text(data.why)}`,
  'shard.failed': (data) => `failed: ${text(data.message ?? data.code)}`,
  'shard.cancelled': () => 'cancelled',
};

const text = (value: unknown): string =>
  typeof value === 'string' ? value : Array.isArray(value) ? value.join(', ') : String(value);
const wait = ({ delayMs }: Data): string =>
  typeof delayMs === 'number' && delayMs > 0 ? `, for another try in ${formatDuration(delayMs)}` : '';

/** Rows where there are any, else what was written. */
function amount({ rows, bytes }: Data): string {
  if (typeof rows === 'number' && rows > 0) return `${formatCount(rows)} ${rows === 1 ? 'row' : 'rows'}`;
  const written = (bytes as { memory?: { written?: number } } | undefined)?.memory?.written ?? 0;
  return formatBytes(written);
}

export class Teller {
  #toldAtMs = performance.now();
  #isOver = false;

  /** `keys` of shards by their ids; `talkative`: tell of every shard, and not of failures alone. */
  constructor(
    private readonly out: NodeJS.WritableStream,
    private readonly keys: ReadonlyMap<string, string>,
    private readonly talkative: boolean,
  ) {}

  /** All shards have ended: that lines end too is no news. */
  over(): void {
    this.#isOver = true;
  }

  tell(event: PodlineEvent): void {
    if (this.#isOver && event.type === 'line.lost') return;
    const sentence = sentences[event.type];
    const always = event.type === 'shard.failed' || event.type === 'line.lost';
    if (sentence === undefined || (!this.talkative && !always)) return;
    const key = event.shardId === undefined ? undefined : this.keys.get(event.shardId);
    // The key once, where the shard comes up; its id after that.
    const named = event.type === 'shard.leased' && key !== undefined ? `, ${key}` : '';
    const who = event.shardId ?? (event.line === undefined ? event.pipeline : `line ${event.line}`);
    this.#write(event.at.slice(11, 19), `${who}  ${sentence(event.data, event)}${named}`);
  }

  get isQuiet(): boolean {
    return performance.now() - this.#toldAtMs > quietMs;
  }

  standing(snapshot: RunSnapshot): void {
    this.#write(new Date().toISOString().slice(11, 19), standingOf(snapshot));
  }

  #write(time: string, line: string): void {
    this.#toldAtMs = performance.now();
    this.out.write(`${time}  ${line}\n`);
  }
}

/** `flights  3 of 10 shards done, 1 failed, after 20 s, 40 s left; clean 40 %`. */
export function standingOf({ pipeline, counts, elapsedMs, leftMs, lines, waiting }: RunSnapshot): string {
  const failed = counts.failed > 0 ? `, ${formatCount(counts.failed)} failed` : '';
  const left = leftMs === undefined ? '' : `, about ${formatDuration(leftMs)} left`;
  const running = lines.flatMap((line) => line.shards.flatMap((shard) => shard.running));
  const stages = running.map((run) =>
    run.blocksTotal > 0 ? `${run.stage} ${String(Math.floor((100 * run.blocks) / run.blocksTotal))} %` : run.stage,
  );
  const loading = lines.flatMap((line) => line.shards.filter((shard) => shard.phase === 'loading'));
  const doing = [...(loading.length > 0 ? [`loading ${formatCount(loading.length)}`] : []), ...stages];
  const now = doing.length > 0 ? `; ${doing.join(', ')}` : waiting === undefined ? '' : `; ${waiting}`;
  const done = `${formatCount(endedOf(counts))} of ${formatCount(totalOf(counts))} shards done`;
  return `${pipeline}  ${done}${failed}, after ${formatDuration(elapsedMs)}${left}${now}`;
}
