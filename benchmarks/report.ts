/** Results as tables in Markdown. Pure. */
import type { Medium } from '../runtime/contracts/block.js';
import { voidRunners } from './checker.js';
import { floorRunner, type BenchResults, type Sample } from './results.js';
import { quantile, spreadOf, type Spread } from './statistics.js';

export interface RunnerRow {
  name: string;
  title: string;
  isVoid: boolean;
  wallMs: Spread;
  cpuMs: Spread;
  peakRssBytes: Spread;
  peakMemoryBytes: Spread;
  /** Beyond the floor, for each stage. May be negative where processes beside one another gain more than handing over costs. */
  addedWallMs: number;
  addedCpuMs: number;
  bytes: Record<Medium, { read: number; written: number }>;
}

/** One row for each runner that has samples, the fastest first. */
export function rowsOf(results: BenchResults): RunnerRow[] {
  const hashes = new Map<string, string[]>();
  for (const { runner, hash } of results.samples) hashes.set(runner, [...(hashes.get(runner) ?? []), hash]);
  const voids = voidRunners(hashes, results.reference.large);
  const samplesOf = (name: string): Sample[] => results.samples.filter(({ runner }) => runner === name);
  const medianOf = (name: string, value: (sample: Sample) => number): number => quantile(samplesOf(name).map(value), 0.5);
  const floor = { wallMs: medianOf(floorRunner, ({ wallMs }) => wallMs), cpuMs: medianOf(floorRunner, ({ cpuMs }) => cpuMs) };
  const rows = results.runners.flatMap(({ name, title }): RunnerRow[] => {
    const own = samplesOf(name);
    const [first] = own;
    if (first === undefined) return [];
    const spread = (value: (sample: Sample) => number): Spread => spreadOf(own.map(value));
    const wallMs = spread((sample) => sample.wallMs);
    const cpuMs = spread((sample) => sample.cpuMs);
    return [
      {
        name,
        title,
        isVoid: voids.has(name),
        wallMs,
        cpuMs,
        peakRssBytes: spread((sample) => sample.peakRssBytes),
        peakMemoryBytes: spread((sample) => sample.peakMemoryBytes),
        addedWallMs: (wallMs.median - floor.wallMs) / results.stages.length,
        addedCpuMs: (cpuMs.median - floor.cpuMs) / results.stages.length,
        bytes: first.bytes,
      },
    ];
  });
  return rows.sort((a, b) => a.wallMs.median - b.wallMs.median);
}

export function markdownOf(results: BenchResults): string {
  const { machine, options, runners } = results;
  const left = runners.filter(({ missing, failed }) => missing !== undefined || failed !== undefined);
  return [
    '# Benchmark: the flights pipeline, connected in different ways',
    '',
    `${results.at}; ${machine.cpu}, ${machine.cores} cores, ${gib(machine.memoryBytes)} GiB, ${machine.os}, Node ${machine.node}, podline ${machine.podline}.`,
    `${count(options.rows)} rows through ${results.stages.length} stages (${results.stages.join(', ')}); ${options.repeats} repeats in an order drawn anew for each (seed ${options.seed}); median (min–max).`,
    `Took ${(results.tookMs / 1000).toFixed(0)} s. Load average before and after: ${machine.loadBefore.map(one).join(' ')}, ${machine.loadAfter.map(one).join(' ')}.`,
    '',
    '## One shard of all rows, everything warm',
    '',
    table(
      ['', 'wall, ms', 'CPU, ms', 'beyond the floor, per stage: wall / CPU, ms', 'peak RSS, MiB', 'peak memory, MiB', 'hash'],
      rowsOf(results).map((row) => [
        row.title,
        ...(row.isVoid
          ? ['void', 'void', 'void', 'void', 'void', '**differs**']
          : [
              spreadText(row.wallMs),
              spreadText(row.cpuMs),
              row.name === floorRunner ? '—' : `${whole(row.addedWallMs)} / ${whole(row.addedCpuMs)}`,
              mib(row.peakRssBytes.median),
              mib(row.peakMemoryBytes.median),
              'equal',
            ]),
      ]),
    ),
    '',
    ...left.map(({ title, missing, failed }) => `Not measured: ${title}: ${missing ?? failed ?? ''}`),
    ...(left.length > 0 ? [''] : []),
    '## Bytes by medium, one shard',
    '',
    table(
      ['MiB read / written', 'memory', 'ssd', 'volume', 'network'],
      rowsOf(results).map((row) => [
        row.title,
        ...(['memory', 'ssd', 'volume', 'network'] as const).map((medium) => moved(row.bytes[medium])),
      ]),
    ),
    '',
    '## Hand-over by stage, ms',
    '',
    'Podline: from "its inputs are committed" to the first call of its code, as the line reports it; a swap that is not done by then is waited for in it. Others: CPU time of the stage’s process outside of the stage’s code: receiving, unpacking, packing, sending.',
    '',
    table(
      ['', ...results.stages],
      stageRows(results, ({ handoverMs }) => handoverMs),
    ),
    '',
    '## Swap by stage, ms (Podline)',
    '',
    'From asking for the stage to its process being ready in the slot; done while other stages work, where there is a free slot. 0: a slot held it already.',
    '',
    table(
      ['', ...results.stages],
      stageRows(results, ({ swapMs }) => swapMs),
    ),
    '',
    ...smallPart(results),
    ...coldPart(results),
    '## Limits of the machine, in the same run',
    '',
    table(
      ['GiB/s', 'median (min–max)'],
      (
        [
          ['memcpy, 4 MiB pieces', 'memcpy'],
          ['tmpfs, write', 'tmpfsWrite'],
          ['tmpfs, read', 'tmpfsRead'],
          ['disk, write and fsync', 'diskWriteSync'],
        ] as const
      ).map(([title, name]) => {
        const { median, min, max } = spreadOf(results.limits.map((limits) => limits[name] / 2 ** 30));
        return [title, `${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`];
      }),
    ),
    '',
  ].join('\n');
}

function stageRows(results: BenchResults, value: (stage: Sample['stages'][number]) => number | undefined): string[][] {
  return results.runners.flatMap(({ name, title }) => {
    if (name === floorRunner) return [];
    const own = results.samples.filter(({ runner }) => runner === name);
    const cells = results.stages.map((wanted) => {
      const values = own
        .flatMap(({ stages }) => stages.filter(({ stage }) => stage === wanted).map(value))
        .filter((found) => found !== undefined);
      return values.length === 0 ? undefined : spreadText(spreadOf(values), fine);
    });
    return cells.every((cell) => cell === undefined) ? [] : [[title, ...cells.map((cell) => cell ?? '—')]];
  });
}

function smallPart(results: BenchResults): string[] {
  const { small, runners, reference } = results;
  if (small.length === 0) return [];
  const { rows } = small[0]!;
  const lines = runners.flatMap(({ name, title }) => {
    const own = small.filter(({ runner }) => runner === name);
    if (own.length === 0) return [];
    const isVoid = own.some(({ hashes }) => hashes.some((hash, index) => hash !== reference.small[index]));
    const each = own.flatMap(({ shardMs }) => shardMs);
    const cpu = own.reduce((sum, { cpuMs }) => sum + cpuMs, 0) / each.length;
    return [
      [
        title,
        ...(isVoid
          ? ['void', 'void', 'void', '**differs**']
          : [fine(quantile(each, 0.5)), fine(quantile(each, 0.99)), fine(cpu), 'equal']),
      ],
    ];
  });
  const handovers = runners.flatMap(({ name, title }) => {
    const own = small.filter(({ runner, handoverMs }) => runner === name && Object.keys(handoverMs).length > 0);
    if (own.length === 0) return [];
    const cells = results.stages.map((stage) => {
      const values = own.flatMap(({ handoverMs }) => handoverMs[stage] ?? []);
      return `${quantile(values, 0.5).toFixed(2)} / ${quantile(values, 0.99).toFixed(2)}`;
    });
    return [[title, ...cells]];
  });
  return [
    `## Small shards: ${count(rows)} rows, one after another`,
    '',
    table(['', 'a shard, p50, ms', 'p99, ms', 'CPU a shard, ms', 'hash'], lines),
    '',
    'Podline writes each shard to its journal and syncs it before it is acknowledged, and leases, checkpoints and delivers it as a large one; the others only compute and deliver it.',
    '',
    '## Hand-over to a warm slot, by stage: p50 / p99, ms',
    '',
    table(['', ...results.stages], handovers),
    '',
  ];
}

function coldPart({ cold, reference, options }: BenchResults): string[] {
  if (cold.length === 0) return [];
  const isVoid = cold.some(({ hash }) => hash !== reference.cold);
  const wall = spreadText(spreadOf(cold.map(({ wallMs }) => wallMs)));
  const cpu = spreadText(spreadOf(cold.map(({ cpuMs }) => cpuMs)));
  return [
    '## Cold: the whole command `podline run`',
    '',
    `From nothing to the end of the process, all ${count(3_000_000)} rows, ${cold.length} times${options.quick ? ' (quick)' : ''}: ${isVoid ? '**void: the hash differs**' : `wall ${wall} ms, CPU ${cpu} ms, hash equal`}.`,
    '',
  ];
}

/** In Markdown; the first column to the left, the others to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, index) => (index === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

const whole = (value: number): string => Math.round(value).toLocaleString('en-US').replace('-', '−');
const one = (value: number): string => value.toFixed(1);
const fine = (value: number): string =>
  Math.abs(value) >= 100 ? whole(value) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2);
const count = (value: number): string => value.toLocaleString('en-US');
const mib = (bytes: number): string => whole(bytes / 2 ** 20);
const gib = (bytes: number): string => (bytes / 2 ** 30).toFixed(0);
const moved = ({ read, written }: { read: number; written: number }): string =>
  read === 0 && written === 0 ? '—' : `${mib(read)} / ${mib(written)}`;
const spreadText = ({ median, min, max }: Spread, text = whole): string => `${text(median)} (${text(min)}–${text(max)})`;
