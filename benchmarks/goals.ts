/** What the benchmark is to show, and whether it did: one line for each figure, from the results of one run. Pure. */
import { sizeText } from './format.js';
import type { LoadFigure } from './figures/load.js';
import { journalGoals } from './journal/goals.js';
import type { BenchResults, ComparisonResult, GrowthPoint } from './results.js';
import { fastest, ratioOf, rowsOf, type Metric } from './rows.js';
import { quantile } from './statistics.js';

export interface Goal {
  figure: string;
  wanted: string;
  /** What was found, or why nothing was. */
  reached: string;
  /** Undefined: it was not measured. */
  holds: boolean | undefined;
}

export function goalsOf(results: BenchResults): Goal[] {
  return [
    timesLess(results, 'pass', 'spanMs', /^http/, 50, '(a) handed over only, span: HTTP stream ÷ Podline'),
    timesLess(results, 'pass', 'spanMs', /^redis/, 150, '(a) handed over only, span: Redis ÷ Podline'),
    timesLess(results, 'pass', 'spanMs', /^ray/, 1, '(a) handed over only, span: Ray’s store ÷ Podline'),
    loopShare(results),
    timesLess(results, 'numbers', 'spanMs', ndjson, 200, '(b) numeric records, span: NDJSON over HTTP ÷ Podline'),
    timesLess(results, 'numbers', 'spanMs', tuned, 80, '(b) numeric records, span: tuned HTTP ÷ Podline'),
    timesLess(results, 'orders', 'wallMs', ndjson, 4, '(c) NDJSON in and out, wall: NDJSON over HTTP ÷ Podline'),
    timesLess(results, 'orders', 'wallMs', tuned, 2, '(c) NDJSON in and out, wall: tuned HTTP ÷ Podline'),
    timesLess(results, 'orders', 'cpuMs', ndjson, 5, '(c) NDJSON in and out, CPU: NDJSON over HTTP ÷ Podline'),
    timesLess(results, 'orders', 'cpuMs', tuned, 2.5, '(c) NDJSON in and out, CPU: tuned HTTP ÷ Podline'),
    ...columnGoals(results),
    ...loadGoals(results),
    handover(results),
    ...checkpointGoals(results),
    threads(results),
    growth(results),
    utilisation(results),
    ...journalGoals(results),
  ];
}

const ndjson = /^http.*ndjson/;
/** HTTP with records by msgpackr. Columns over HTTP are measured too, and stand in the tables. */
const tuned = /^http.*(msgpack|records)/;

const notMeasured = (figure: string, wanted: string, why = 'not measured in this run'): Goal => ({
  figure,
  wanted,
  reached: why,
  holds: undefined,
});
const times = (value: number): string => `${value >= 10 ? value.toFixed(0) : value.toFixed(2)}×`;
const percent = (value: number): string => `${(value * 100).toFixed(Math.abs(value) < 0.1 ? 1 : 0)} %`;
const median = (values: readonly number[]): number => quantile(values, 0.5);

const atLeast = (figure: string, value: number, least: number, wanted: string, reached: string): Goal =>
  Number.isFinite(value) ? { figure, wanted, reached, holds: value >= least } : notMeasured(figure, wanted);
const atMost = (figure: string, value: number, most: number, wanted: string, reached: string): Goal =>
  Number.isFinite(value) ? { figure, wanted, reached, holds: value <= most } : notMeasured(figure, wanted);

function timesLess(results: BenchResults, workload: string, metric: Metric, other: RegExp, least: number, figure: string): Goal {
  const wanted = `≥ ${least}×`;
  const comparison = results.comparisons.find((known) => known.name === workload);
  if (comparison === undefined) return notMeasured(figure, wanted);
  const rows = rowsOf(comparison);
  const own = rows.find(({ name }) => name === 'podline');
  const ratio = ratioOf(fastest(rows, other, metric), own, metric);
  if (ratio === undefined) return notMeasured(figure, wanted, whyMissing(comparison, own === undefined ? /^podline$/ : other));
  return {
    figure,
    wanted,
    reached: `${times(ratio.median)} (${times(ratio.min)}–${times(ratio.max)}; ${ratio.other})`,
    holds: ratio.median >= least,
  };
}

/** What the notes say about those who should have been there. */
function whyMissing({ runners, samples, reference }: ComparisonResult, name: RegExp): string {
  const known = runners.filter((runner) => name.test(runner.name));
  const words = known.map(({ title, name: own, missing, failed }) => {
    const isVoid = samples.some((sample) => sample.runner === own && sample.hash !== reference);
    return `${title}: ${missing ?? failed ?? (isVoid ? 'its result was another' : 'no figure')}`;
  });
  return words.length === 0 ? 'nobody of that kind took part' : words.join('; ');
}

function loopShare(results: BenchResults): Goal {
  const figure = '(a) XOR in each stage, one thread: share of the bare loop’s speed';
  const comparison = results.comparisons.find(({ name }) => name === 'xor');
  if (comparison === undefined) return notMeasured(figure, '≥ 90 %');
  const rows = rowsOf(comparison);
  const named = (name: string) => rows.find((row) => row.name === name);
  const own = named('podline-1-thread');
  const share = ratioOf(named('bare-new'), own, 'spanMs');
  const reused = ratioOf(named('bare-reused'), own, 'spanMs');
  if (share === undefined) return notMeasured(figure, '≥ 90 %', whyMissing(comparison, /^(podline-1-thread|bare-new)$/));
  return {
    figure,
    wanted: '≥ 90 %',
    reached: `${percent(share.median)} (${percent(share.min)}–${percent(share.max)}); ${percent(reused?.median ?? Number.NaN)} of the loop that reuses its output buffers`,
    holds: share.median >= 0.9,
  };
}

function columnGoals({ columns }: BenchResults): Goal[] {
  const adding = 'adding one column to a shard of 9: bytes written ÷ the column’s own';
  const peak = 'peak scratch, one block per slot aside ÷ live columns';
  if (columns === undefined) return [notMeasured(adding, '≤ 1.05'), notMeasured(peak, '≤ 1.1')];
  const { writtenBytes, columnBytes, scratchPeakBytes, liveBytes, slots, blockBytes } = columns;
  const written = writtenBytes / columnBytes;
  const peaked = Math.max(scratchPeakBytes - slots * blockBytes, 0) / liveBytes;
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
  return [
    atMost(adding, written, 1.05, '≤ 1.05', written.toFixed(3)),
    atMost(
      peak,
      peaked,
      1.1,
      '≤ 1.1',
      `${peaked.toFixed(2)} (peak ${mib(scratchPeakBytes)} MiB, live ${mib(liveBytes)} MiB, ${slots} slots with blocks of ${mib(blockBytes)} MiB)`,
    ),
  ];
}

function loadGoals({ load, parts }: BenchResults): Goal[] {
  const memcpy = median((parts['load']?.limits ?? []).map((limit) => limit.memcpy));
  const of = (format: string) => load?.formats.find((found) => found.format === format);
  const goals: Goal[] = [];
  const bytes = of('bytes');
  const asFast = 'load into scratch, bytes: share of memcpy';
  if (bytes === undefined) goals.push(notMeasured(asFast, '≥ 45 %'));
  else {
    const speed = (bytes.sourceBytes * 1000) / median(bytes.loadMs);
    const share = speed / memcpy;
    goals.push(atLeast(asFast, share, 0.45, '≥ 45 %', `${percent(share)} (${(speed / 2 ** 30).toFixed(2)} GiB/s)`));
  }
  const readers = [
    ['parquet', 'Parquet: share of hyparquet’s own speed'],
    ['csv', 'CSV: share of the speed of Podline’s own reader, nothing kept (no library has a part in it)'],
  ] as const;
  for (const [format, words] of readers) {
    const figure = `load into scratch, ${words}`;
    const found = of(format);
    const bareMs = found?.readers?.libraryMs ?? found?.readers?.readerMs;
    if (found === undefined || bareMs === undefined) goals.push(notMeasured(figure, '≥ 90 %'));
    else {
      const loadMs = median(found.loadMs);
      const reached = `${percent(bareMs / loadMs)} (load on several threads ${loadMs.toFixed(0)} ms, alone on one ${bareMs.toFixed(0)} ms)${oneThread(found.readers)}`;
      goals.push(atLeast(figure, bareMs / loadMs, 0.9, '≥ 90 %', reached));
    }
  }
  return goals;
}

/** Thread against thread, where the record has it: both readers alone in a process, nothing kept. A load on one thread was not measured. */
function oneThread(readers: LoadFigure['readers']): string {
  const words = '; no load on one thread was measured';
  if (readers?.libraryMs === undefined) return words;
  const share = percent(readers.libraryMs / readers.readerMs);
  return `; on one thread each, nothing kept: ${share} (Podline’s reader ${readers.readerMs.toFixed(0)} ms)${words}`;
}

/** Hand-overs of Podline at each size of shard at which they were measured. */
export function handoversBySize({ small, growth }: BenchResults): { bytes: number; handoverMs: number[] }[] {
  const ofSmall = small?.samples.flatMap(({ handoverMs }) => handoverMs) ?? [];
  return [
    ...(small === undefined || ofSmall.length === 0 ? [] : [{ bytes: small.shardBytes, handoverMs: ofSmall }]),
    ...podlinePoints(growth?.points ?? []).map(({ size, handoverMs }) => ({ bytes: size, handoverMs })),
  ];
}

const podlinePoints = (points: readonly GrowthPoint[]): GrowthPoint[] =>
  points
    .filter(
      ({ series, runner, isVoid, handoverMs }) =>
        series === 'bytes' && runner === 'podline-steps' && !isVoid && handoverMs.length > 0,
    )
    .sort((a, b) => a.size - b.size);

/** A 99th percentile of fewer is the largest of them. */
const samplesForP99 = 100;

function handover(results: BenchResults): Goal {
  const figure = 'hand-over to a warm slot, the worst of all shard sizes: p50 / p99';
  const wanted = '≤ 0.2 ms / ≤ 2 ms';
  const sizes = handoversBySize(results);
  if (sizes.length === 0) return notMeasured(figure, wanted);
  const p50 = Math.max(...sizes.map(({ handoverMs }) => median(handoverMs)));
  const enough = sizes.filter(({ handoverMs }) => handoverMs.length >= samplesForP99);
  const p99 = Math.max(...(enough.length > 0 ? enough : sizes).map(({ handoverMs }) => quantile(handoverMs, 0.99)));
  const few = sizes
    .filter((size) => !enough.includes(size))
    .map(({ bytes, handoverMs }) => `${sizeText(bytes)}: ${handoverMs.length}`);
  const left =
    few.length === 0
      ? ''
      : enough.length === 0
        ? `; p99 of fewer than ${samplesForP99} a size`
        : `; p99 without sizes that have fewer than ${samplesForP99}: ${few.join(', ')}`;
  const count = sizes.reduce((sum, { handoverMs }) => sum + handoverMs.length, 0);
  return {
    figure,
    wanted,
    reached: `${p50.toFixed(2)} ms / ${p99.toFixed(2)} ms (${count} hand-overs at ${sizes.length} sizes${left})`,
    holds: p50 <= 0.2 && p99 <= 2,
  };
}

function checkpointGoals({ checkpoints, slowdown }: BenchResults): Goal[] {
  const write = 'checkpoint with checksum: share of plain buffered write + fsync';
  const slow = 'stages’ slow-down while checkpointing, on a line (XOR, one thread, a checkpoint after each stage)';
  const beside = 'the same where every CPU is busy and checkpoints never pause';
  const restore = 'restore with verification: share of direct read';
  const goals: Goal[] = [];
  goals.push(
    checkpoints === undefined
      ? notMeasured(write, '≥ 90 %')
      : atLeast(write, checkpoints.write.shareOfPlain, 0.9, '≥ 90 %', percent(checkpoints.write.shareOfPlain)),
  );
  if (slowdown === undefined) goals.push(notMeasured(slow, '≤ 5 %'));
  else {
    const slower = median(slowdown.withMs) / median(slowdown.withoutMs) - 1;
    const written = (median(slowdown.checkpointBytes) / 2 ** 20).toFixed(0);
    const reached = `${percent(slower)} (${written} MiB written meanwhile and after)`;
    goals.push(atMost(slow, slower, 0.05, '≤ 5 %', reached));
  }
  if (checkpoints === undefined) goals.push(notMeasured(beside, '≤ 5 %'), notMeasured(restore, '≥ 70 %'));
  else {
    const { stages, restore: restored } = checkpoints;
    goals.push(
      atMost(beside, stages.slowdown, 0.05, '≤ 5 %', percent(stages.slowdown)),
      atLeast(restore, restored.shareOfDirect, 0.7, '≥ 70 %', percent(restored.shareOfDirect)),
    );
  }
  return goals;
}

function threads({ threads: found }: BenchResults): Goal {
  const figure = 'two threads on a CPU-bound stage against one, relative to two bare threads';
  if (found === undefined) return notMeasured(figure, '≥ 90 %');
  const [one, two] = [median(found.oneMs), median(found.twoMs)];
  const [bareOne, bareTwo] = [median(found.bare.map(({ oneMs }) => oneMs)), median(found.bare.map(({ twoMs }) => twoMs))];
  const [own, bare] = [one / two, bareOne / bareTwo];
  const pair = (first: number, second: number): string => `${first.toFixed(0)} → ${second.toFixed(0)} ms`;
  // One slow thread lifts the ratio: who reads it sees by how much.
  const reached = `${percent(own / bare)} (${times(own)} of ${times(bare)}; Podline ${pair(one, two)}, bare ${pair(bareOne, bareTwo)})`;
  return atLeast(figure, own / bare, 0.9, '≥ 90 %', reached);
}

/** Times that a shard grows, for the figure to say anything. */
const growthWanted = 4096;

function growth({ growth: found }: BenchResults): Goal {
  const points = podlinePoints(found?.points ?? []);
  const [first, last] = [points[0], points.at(-1)];
  const figure = '(f) hand-over as the shard grows: largest median ÷ smallest';
  if (first === undefined || last === undefined || first === last) return notMeasured(figure, '≤ 2');
  const medians = points.map(({ handoverMs }) => median(handoverMs));
  const spread = Math.max(...medians) / Math.min(...medians);
  const grown = Math.round(last.size / first.size).toLocaleString('en-US');
  const reached = `${spread.toFixed(2)} over ${grown}× (${sizeText(first.size)} – ${sizeText(last.size)})`;
  if (last.size / first.size < growthWanted)
    return notMeasured(figure, '≤ 2', `not measured over ${growthWanted.toLocaleString('en-US')}× (--full does): ${reached}`);
  return atMost(figure, spread, 2, '≤ 2', reached);
}

function utilisation({ pipelining }: BenchResults): Goal {
  const figure = 'a slot’s time at work, shards back to back, several resident';
  if (pipelining === undefined) return notMeasured(figure, '≥ 90 %');
  const share = median(pipelining.utilisation);
  return atLeast(
    figure,
    share,
    0.9,
    '≥ 90 %',
    `${percent(share)} (${pipelining.shards} shards of ${(pipelining.shardBytes / 2 ** 20).toFixed(0)} MiB, load of the first and delivery of the last included)`,
  );
}
