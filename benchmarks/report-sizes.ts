/** What depends on the size of a shard: small ones, growth, break-even. Pure. */
import { breakEvenOf, type BreakEven } from './break-even.js';
import { fine, leftOut, sizeAbout, sizeText, table, whole } from './format.js';
import { handoversBySize } from './goals.js';
import type { BenchResults, GrowthPoint } from './results.js';
import { quantile } from './statistics.js';

const p = (values: readonly number[], share: number): string => (values.length === 0 ? '—' : fine(quantile(values, share)));

export function smallPart({ small }: BenchResults): string[] {
  if (small === undefined) return [];
  const rows = small.runners.flatMap(({ name, title }) => {
    const own = small.samples.filter(({ runner }) => runner === name);
    if (own.length === 0) return [];
    if (own.some(({ isVoid }) => isVoid)) return [[title, 'void', 'void', 'void', 'void', 'void', '**differs**']];
    const shardMs = own.flatMap((sample) => sample.shardMs);
    const lineMs = own.flatMap(({ spanMs, loadMs }) => spanMs.map((span, index) => span + (loadMs[index] ?? 0)));
    const together = own.flatMap((sample) => (sample.together === undefined ? [] : [sample.together]));
    return [
      [
        title,
        p(shardMs, 0.5),
        p(shardMs, 0.99),
        p(lineMs, 0.5),
        fine(
          quantile(
            own.map(({ cpuMsEach }) => cpuMsEach),
            0.5,
          ),
        ),
        `${whole(
          quantile(
            together.map(({ shards, wallMs }) => (shards * 1000) / wallMs),
            0.5,
          ),
        )} (${together[0]?.atOnce ?? 1} at once)`,
        'equal',
      ],
    ];
  });
  return [
    `## (e) Many small shards: ${sizeText(small.shardBytes)}, ${small.stages} stages`,
    '',
    table(
      ['', 'a shard, p50, ms', 'p99, ms', 'of that load and stages, ms', 'CPU a shard, ms', 'shards/s together', 'result'],
      rows,
    ),
    '',
    'Podline writes each shard to its journal and syncs it before it is acknowledged, and leases and delivers it as a large one; the others compute and deliver it. What is left of a shard’s time beside load and stages is submission, journal, lease, delivery and the client’s hearing of it.',
    '',
    ...leftOut(small.runners),
  ];
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
        return point === undefined ? '—' : point.isVoid ? '**differs**' : p(point.wallMs, 0.5);
      }),
    ]);
    return [
      `### ${seriesTitles[series]}`,
      '',
      table(['', ...labels], rows),
      '',
      ...(series === 'stages' ? [] : breakEvens(points)),
    ];
  });
  const sizes = handoversBySize(results);
  return [
    '## (f) Growth',
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
              ['hand-overs', ...sizes.map(({ handoverMs }) => whole(handoverMs.length))],
            ],
          ),
          '',
        ]),
    ...(growth.left.length === 0 ? [] : ['Not measured:', '', ...growth.left.map((line) => `- ${line}`), '']),
  ];
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
