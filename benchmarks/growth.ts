/**
 * Workload (f): what a shard costs as it grows, and as stages are added; and from which size on that is less than by other means.
 *
 * Sizes are chosen when it runs: a shard lies in memory as source and as scratch, and others must hold it too.
 */
import { readFileSync, rmSync } from 'node:fs';
import { freemem } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { bytesWork, numbersWork } from './comparisons.js';
import { expectedHash } from './expected.js';
import { Field } from './field.js';
import type { BenchOptions, Place } from './options.js';
import type { GrowthPoint, GrowthResult } from './results.js';
import { podline, podlineAs, podlineSteps } from './runners/podline.js';
import type { Peer } from './runners/runner.js';
import { writeBytes, writeNumbers } from './work/generate.js';
import type { Job, Work } from './work/work.js';

const mebi = 1024 * 1024;
/** Source, scratch, and a peer that holds what it sends and what it received. */
const copies = 4;
/** A line keeps at most 128 stages in slots of their own (`spec.slots`), and the digest behind the chain is one: it has to be warm, as the peers' are. */
const mostStages = 127;
/** Who shows the cost of connecting stages over a network, and who that of no connection at all. */
const isShown = ({ name }: Peer): boolean => /^(http|one-process)/.test(name);

/** With room for the shard in the scratch, whatever its size. */
const roomy = (shardBytes: number): Peer[] =>
  (
    [
      [podline, 'auto'],
      [podlineSteps, 'off'],
    ] as const
  ).map(([{ name, title, does }, streaming]) =>
    podlineAs(name, title, does, { streaming, scratchBytes: shardBytes + 512 * mebi }),
  );

export async function runGrowth(place: Place, options: BenchOptions): Promise<GrowthResult> {
  const points: GrowthPoint[] = [];
  const left: string[] = [];
  const { scale, record, full } = options;
  const others = options.peers.filter(isShown);

  const sizes = [1, 8, 64, 256, ...(record || full ? [1024] : []), ...(full ? [4096] : [])].map((mib) =>
    Math.ceil(mib * mebi * scale),
  );
  const fitting = sizes.filter((bytes) => {
    const fits = bytes * copies < availableBytes();
    if (!fits) left.push(`shards of ${Math.round(bytes / mebi)} MiB: the machine has no room for ${copies} times that`);
    return fits;
  });
  if (!full) left.push('shards of 4,096 MiB: only with --full');
  const largest = fitting.at(-1) ?? 0;
  await inField('growth-bytes', bytesWork('pass', 5), [...roomy(largest), ...others], fitting, async (bytes, path) => {
    writeBytes(path, bytes, options.seed);
    return { uri: path, format: 'bytes' };
  });

  const stagesOf = record || full ? [2, 16, mostStages] : [2, 8, 32];
  if (!record && !full) left.push(`${mostStages} stages: only with --record or --full`);
  for (const stages of stagesOf) {
    await inField(
      'growth-stages',
      bytesWork('pass', stages),
      [podline, ...others],
      [Math.ceil(16 * mebi * scale)],
      (bytes, path) => {
        writeBytes(path, bytes, options.seed);
        return Promise.resolve({ uri: path, format: 'bytes' });
      },
    );
  }

  const rows = [1_000, 10_000, 100_000, 1_000_000].map((count) => Math.ceil(count * scale));
  await inField('growth-numbers', numbersWork, [podline, ...others], rows, async (count, path) => {
    await writeNumbers(path, count, options.seed, numbersWork.blockRows);
    return { uri: path, format: 'arrow' };
  });
  return { points, left };

  async function inField(
    name: 'growth-bytes' | 'growth-stages' | 'growth-numbers',
    work: Exclude<Work, { kind: 'flights' | 'orders' }>,
    peers: readonly Peer[],
    sizes: readonly number[],
    write: (size: number, path: string) => Promise<Job['source']>,
  ): Promise<void> {
    const series = name.slice('growth-'.length) as GrowthPoint['series'];
    const field = new Field(name, work, place, options);
    try {
      for (const [index, size] of sizes.entries()) {
        const path = join(place.memoryDir, `${name}-${work.stages}-${size}`);
        try {
          const source = await write(size, path);
          const expected = await expectedHash(work, source);
          if (index === 0) for (const peer of peers) await field.enter(peer, source, series === 'bytes' ? size : 0);
          await measurePoint(field, { series, size, stages: work.stages }, source, expected, peers);
        } finally {
          rmSync(path, { force: true });
        }
      }
      for (const { title, failed } of field.notes) if (failed !== undefined) left.push(`${title}, ${series}: ${failed}`);
    } finally {
      await field.close();
    }
  }

  async function measurePoint(
    field: Field,
    point: Pick<GrowthPoint, 'series' | 'size' | 'stages'>,
    source: Job['source'],
    expected: string | undefined,
    peers: readonly Peer[],
  ): Promise<void> {
    const isTooLarge = (name: string): boolean =>
      point.series === 'bytes' &&
      point.size > (peers.find((peer) => peer.name === name)?.shardBytesMax ?? Number.POSITIVE_INFINITY);
    for (const { name, title } of field.notes)
      if (isTooLarge(name)) left.push(`${title}, ${Math.round(point.size / mebi)} MiB: it takes no such shard`);
    const found = new Map<string, GrowthPoint>();
    const moved = point.series === 'numbers' ? point.size * 64 : point.size;
    for (let round = 0; round < roundsOf(moved * point.stages); round++) {
      await field.each(async (runner, { name, title }) => {
        if (isTooLarge(name)) return;
        const job = field.job(source);
        const beganMs = performance.now();
        const end = await field.run(runner, job);
        const wallMs = performance.now() - beganMs;
        const isVoid = (await field.hashOf(end)) !== expected;
        const none = { wallMs: [], spanMs: [], handoverMs: [] };
        const empty: GrowthPoint = { ...point, ...none, runner: name, title, isVoid: false };
        const own = found.get(name) ?? empty;
        found.set(name, own);
        own.wallMs.push(wallMs);
        own.bytes = end.bytes;
        if (end.spanMs !== undefined) own.spanMs.push(end.spanMs);
        if (name === podlineSteps.name) own.handoverMs.push(...end.stages.map(({ handoverMs }) => handoverMs));
        own.isVoid ||= isVoid;
      });
    }
    points.push(...found.values());
    options.say(
      `growth ${point.series} ${point.size} × ${point.stages}: ${[...found.values()].map(({ runner, wallMs }) => `${runner} ${Math.min(...wallMs).toFixed(1)}`).join(', ')}`,
    );
  }

  /** Small shards are measured often, since a hand-over's 99th percentile is asked for; large ones for as long as there is patience. */
  function roundsOf(bytesInAll: number): number {
    const most = record ? 40 : 12;
    const fewest = record ? 7 : 3;
    return Math.max(Math.min(Math.floor((4096 * mebi) / bytesInAll), most), fewest);
  }
}

/** What the machine can lend without giving anything up. */
function availableBytes(): number {
  try {
    return Number(/^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return freemem();
  }
}
