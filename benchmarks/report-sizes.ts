/** What depends on the size of a shard: small ones, growth, break-even. Pure. */
import { breakEvenOf, type BreakEven } from './break-even.js';
import { fine, leftOut, mib, moved, sizeAbout, sizeText, spreadText, table, timesText, whole } from './format.js';
import { handoversBySize } from './goals.js';
import type { BenchResults, GrowthPoint, SmallSample } from './results.js';
import { smallRowsOf } from './small-rows.js';
import { quantile, spreadOf } from './statistics.js';

const p = (values: readonly number[], share: number): string => (values.length === 0 ? '—' : fine(quantile(values, share)));
const spread = (values: readonly number[], text = fine): string =>
  values.length === 0 ? '—' : spreadText(spreadOf(values), text);
/** Of a field that older records lack. */
const unknown = 'not recorded';

export function smallPart({ small }: BenchResults): string[] {
  if (small === undefined) return [];
  const rounds = new Set(small.samples.map(({ round }) => round)).size;
  const shards = small.samples[0]?.shardMs.length ?? 0;
  const rows = smallRowsOf(small).map(({ title, isVoid, shardMs, lineMs, samples }) => {
    if (isVoid) return [title, ...Array.from({ length: 7 }, () => 'void'), '**differs**'];
    const together = samples.flatMap((sample) => (sample.together === undefined ? [] : [sample.together]));
    const peaks = samples.flatMap(({ peakMemoryBytes }) => peakMemoryBytes ?? []);
    return [
      title,
      `${p(shardMs, 0.5)} (${p(shardMs, 0)}–${p(shardMs, 1)})`,
      p(shardMs, 0.99),
      p(lineMs, 0.5),
      spread(samples.map(({ cpuMsEach }) => cpuMsEach)),
      peaks.length === 0 ? unknown : mib(quantile(peaks, 0.5)),
      movedOf(samples.at(-1)),
      `${spread(
        together.map(({ shards: count, wallMs }) => (count * 1000) / wallMs),
        whole,
      )}; ${together[0]?.atOnce ?? 1} at once`,
      'equal',
    ];
  });
  return [
    `## (e) Many small shards: ${sizeText(small.shardBytes)}, ${small.stages} stages`,
    '',
    `Each runner: ${timesText(rounds)}, ${whole(shards)} shards one after another and then as many together. p50, p99, smallest and largest are of all ${whole(rounds * shards)} shards; CPU and shards/s are medians of the rounds, with the smallest and largest.`,
    '',
    table(
      [
        '',
        'a shard, p50 (min–max), ms',
        'p99, ms',
        'of that load and stages, p50, ms',
        'CPU a shard, ms',
        'peak memory, MiB',
        'KiB read / written a shard',
        'shards/s together',
        'result',
      ],
      rows,
    ),
    '',
    'Podline writes each shard to its journal and syncs it before it is acknowledged, and leases and delivers it as a large one; the others compute and deliver it. What is left of a shard’s time beside load and stages is submission, journal, lease, delivery and the client’s hearing of it.',
    '',
    ...leftOut(small.runners),
  ];
}

/** Of one shard, with the medium that each goes to or comes from. */
function movedOf(sample: SmallSample | undefined): string {
  if (sample?.bytes === undefined) return unknown;
  const { bytes, shardMs } = sample;
  const kib = (sum: number): string => fine(sum / 1024 / Math.max(shardMs.length, 1));
  const words = (['memory', 'ssd', 'network'] as const).flatMap((medium) => {
    const { read, written } = bytes[medium];
    return read === 0 && written === 0 ? [] : [`${medium} ${kib(read)} / ${kib(written)}`];
  });
  return words.length === 0 ? '—' : words.join(', ');
}

const seriesTitles: Record<GrowthPoint['series'], string> = {
  bytes: 'Bytes, only handed over, five stages: wall time, ms',
  stages: 'Stages, bytes only handed over: wall time, ms',
  numbers: 'Numeric records, five stages: wall time, ms',
};

export function growthPart(results: BenchResults): string[] {
  const { growth } = results;
  if (growth === undefined) return [];
  const parts = (['bytes', 'stages', 'numbers'] as const).flatMap((series) => {
    const points = growth.points.filter((point) => point.series === series);
    if (points.length === 0) return [];
    const labels = [...new Set(points.map((point) => labelOf(point)))];
    const runners = [...new Map(points.map(({ runner, title }) => [runner, title]))];
    const rows = runners.map(([runner, title]) => [
      title,
      ...labels.map((label) => {
        const point = points.find((found) => found.runner === runner && labelOf(found) === label);
        if (point === undefined) return '—';
        return point.isVoid ? '**differs**' : `${spread(point.wallMs)} ×${point.wallMs.length}`;
      }),
    ]);
    return [
      `### ${seriesTitles[series]}`,
      '',
      table(['', ...labels], rows),
      '',
      ...bytesTable(points, labels, runners),
      ...(series === 'stages' ? [] : breakEvens(points)),
    ];
  });
  const sizes = handoversBySize(results);
  const notMeasured = [...new Set([...growth.left, ...othersThan(results)])];
  return [
    '## (f) Growth',
    '',
    'Median (smallest–largest) × how often it was measured: the largest shards less often, because each takes seconds. CPU and memory are not measured here: that waits after each shard, and a slot that slept hands over more slowly.',
    '',
    ...parts,
    ...(sizes.length === 0
      ? []
      : [
          '### Hand-over to a warm slot, ms',
          '',
          table(
            ['', ...sizes.map(({ bytes }) => sizeText(bytes))],
            [
              ['p50', ...sizes.map(({ handoverMs }) => p(handoverMs, 0.5))],
              ['p99', ...sizes.map(({ handoverMs }) => p(handoverMs, 0.99))],
              ['smallest–largest', ...sizes.map(({ handoverMs }) => `${p(handoverMs, 0)}–${p(handoverMs, 1)}`)],
              ['hand-overs', ...sizes.map(({ handoverMs }) => whole(handoverMs.length))],
            ],
          ),
          '',
          'A 99th percentile of fewer than 100 is near their largest, and no goal takes it.',
          '',
        ]),
    ...(notMeasured.length === 0 ? [] : ['Not measured:', '', ...notMeasured.map((line) => `- ${line}`), '']),
  ];
}

/** Why (f) is of a few. */
const notInGrowth =
  'they take no part in (f), where each would add minutes; HTTP stands for a network, and the one process for no connection. (a) to (e) show the others at one size each';

/** Who takes part in (a) to (e), and not here. */
function othersThan({ comparisons, small, growth }: BenchResults): string[] {
  const shown = new Set(growth?.points.map(({ title }) => title));
  const titles = new Map(
    [...comparisons.flatMap(({ runners }) => runners), ...(small?.runners ?? [])].map(({ name, title }) => [name, title]),
  );
  const left = [...titles].filter(([name, title]) => !shown.has(title) && !/^(podline|bare)/.test(name));
  return left.length === 0 ? [] : [`${left.map(([, title]) => title).join('; ')}: ${notInGrowth}`];
}

/** What a shard moved at each point; nothing of records that do not tell. */
function bytesTable(
  points: readonly GrowthPoint[],
  labels: readonly string[],
  runners: readonly (readonly [string, string])[],
): string[] {
  if (points.every(({ bytes }) => bytes === undefined)) return ['Bytes by medium: not recorded.', ''];
  const rows = runners.map(([runner, title]) => [
    title,
    ...labels.map((label) => {
      const point = points.find((found) => found.runner === runner && labelOf(found) === label);
      if (point === undefined || point.isVoid) return '—';
      const { bytes } = point;
      if (bytes === undefined) return unknown;
      const words = (['memory', 'ssd', 'network'] as const).flatMap((medium) =>
        bytes[medium].read + bytes[medium].written === 0 ? [] : [`${medium} ${moved(bytes[medium])}`],
      );
      return words.length === 0 ? '—' : words.join(', ');
    }),
  ]);
  return [table(['MiB read / written', ...labels], rows), ''];
}

const labelOf = ({ series, size, stages }: GrowthPoint): string =>
  series === 'stages' ? `${stages} stages` : series === 'numbers' ? whole(size) : sizeText(size);

function breakEvens(points: readonly GrowthPoint[]): string[] {
  const own = points.filter(({ runner }) => runner === 'podline');
  const others = [...new Map(points.filter(({ runner }) => runner !== 'podline').map(({ runner, title }) => [runner, title]))];
  const lines = others.flatMap(([runner, title]) => {
    const found = breakEvenOf(
      own,
      points.filter((point) => point.runner === runner),
    );
    return found === undefined ? [] : [`- against ${title}: ${wordsOf(found, points[0]?.series === 'numbers')}`];
  });
  return lines.length === 0 ? [] : ['Break-even, by wall time of a whole shard:', '', ...lines, ''];
}

function wordsOf(found: BreakEven, isRows: boolean): string {
  if (found === 'below') return 'Podline takes less at every size measured';
  if (found === 'never') return 'Podline takes more, up to the largest size measured';
  return isRows ? `from ${whole(Number(found.at.toPrecision(2)))} records on` : `from ${sizeAbout(found.at)} on`;
}
