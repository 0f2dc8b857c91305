/** The pictures of a run, by file name: bars for each workload, small shards too, cost against size with break-even, hand-over against size. Pure. */
import { barsOf } from './bars.js';
import { breakEvenOf } from './break-even.js';
import { fine, sizeAbout, sizeText, whole } from './format.js';
import { handoversBySize } from './goals.js';
import { linesOf, type Line } from './lines.js';
import type { BenchResults, ComparisonResult, GrowthPoint } from './results.js';
import { rowsOf } from './rows.js';
import { smallRowsOf, type SmallRow } from './small-rows.js';
import { quantile, spreadOf } from './statistics.js';

export function picturesOf(results: BenchResults): Record<string, string> {
  return Object.fromEntries([
    ...results.comparisons.flatMap(comparisonPictures),
    ...smallPictures(results),
    ...growthPictures(results),
  ]);
}

type Picture = readonly [name: string, svg: string];

const milliseconds = (value: number): string => `${fine(value)} ms`;
const isOwn = (name: string): boolean => name.startsWith('podline');

/** For bytes and numbers what lies between the stages, for the others whole shards; CPU time beside it. */
function comparisonPictures(comparison: ComparisonResult): Picture[] {
  const { name, title, repeats } = comparison;
  const rows = rowsOf(comparison).filter(({ isVoid }) => !isVoid);
  if (rows.length === 0) return [];
  const metric = name === 'pass' || name === 'xor' || name === 'numbers' ? 'spanMs' : 'wallMs';
  const bars = (of: 'spanMs' | 'wallMs' | 'cpuMs') =>
    rows
      .flatMap((row) => {
        const spread = row[of];
        if (spread === undefined) return [];
        return [{ label: row.title, value: spread.median, min: spread.min, max: spread.max, emphasis: isOwn(row.name) }];
      })
      .sort((a, b) => a.value - b.value);
  const note = `median of ${repeats}, line from smallest to largest`;
  const [what, logarithmic] =
    metric === 'spanMs' ? ['from input in memory to output of the last stage', true] : ['from submission to result', false];
  return [
    [
      `${name}.svg`,
      barsOf(
        { title, note: `${what}; ${note}${logarithmic ? '; logarithmic' : ''}`, textOf: milliseconds, logarithmic },
        bars(metric),
      ),
    ],
    [
      `${name}-cpu.svg`,
      barsOf({ title, note: `CPU time of all processes, whole shard; ${note}`, textOf: milliseconds }, bars('cpuMs')),
    ],
  ];
}

/** A shard by itself, what many together come to, and CPU time; of small shards. */
function smallPictures({ small }: BenchResults): Picture[] {
  if (small === undefined) return [];
  const rows = smallRowsOf(small).filter(({ isVoid }) => !isVoid);
  if (rows.length === 0) return [];
  const bars = (valuesOf: (row: SmallRow) => readonly number[]) =>
    rows
      .map((row) => {
        const { median, min, max } = spreadOf(valuesOf(row));
        return { label: row.title, value: median, min, max, emphasis: isOwn(row.name) };
      })
      .sort((a, b) => a.value - b.value);
  const title = `(e) many small shards: ${sizeText(small.shardBytes)}, ${small.stages} stages`;
  const rounds = new Set(small.samples.map(({ round }) => round)).size;
  const note = `median, line from smallest to largest, of ${rounds} rounds`;
  const alone = { title, note: `a shard after another, from submission to result; ${note}; logarithmic`, textOf: milliseconds };
  const cpu = { title, note: `CPU time of all processes, a shard; ${note}; logarithmic`, textOf: milliseconds };
  return [
    [
      'small.svg',
      barsOf(
        { ...alone, logarithmic: true },
        bars(({ shardMs }) => shardMs),
      ),
    ],
    [
      'small-cpu.svg',
      barsOf(
        { ...cpu, logarithmic: true },
        bars(({ samples }) => samples.map(({ cpuMsEach }) => cpuMsEach)),
      ),
    ],
  ];
}

const growthTitles: Record<GrowthPoint['series'], { title: string; xLabel: string }> = {
  bytes: { title: 'Cost of a shard as it grows: bytes, five stages, only handed over', xLabel: 'size of the shard' },
  stages: { title: 'Cost of a shard as stages are added: 16 MiB, only handed over', xLabel: 'stages' },
  numbers: { title: 'Cost of a shard as it grows: numeric records, five stages', xLabel: 'records' },
};

function growthPictures(results: BenchResults): Picture[] {
  const points = (results.growth?.points ?? []).filter(({ isVoid }) => !isVoid);
  const pictures = (['bytes', 'stages', 'numbers'] as const).flatMap((series): Picture[] => {
    const own = points.filter((point) => point.series === series);
    if (own.length === 0) return [];
    const { title, xLabel } = growthTitles[series];
    const xOf = ({ size, stages }: GrowthPoint): number => (series === 'stages' ? stages : size);
    const xText = series === 'bytes' ? sizeText : whole;
    const lines = [...new Map(own.map(({ runner, title: label }) => [runner, label]))].map(([runner, label]): Line => ({
      label,
      emphasis: runner === 'podline',
      points: own.filter((point) => point.runner === runner).map((point) => ({ x: xOf(point), y: quantile(point.wallMs, 0.5) })),
    }));
    const marks = series === 'stages' ? [] : marksOf(own, series === 'bytes' ? sizeAbout : whole);
    const note = 'wall time of a whole shard, median; both axes logarithmic';
    return [[`growth-${series}.svg`, linesOf({ title, note, xLabel, yLabel: 'ms', xText, yText: fine, marks }, lines)]];
  });
  const sizes = handoversBySize(results);
  if (sizes.length < 2) return pictures;
  const share = (of: number): Line['points'] => sizes.map(({ bytes, handoverMs }) => ({ x: bytes, y: quantile(handoverMs, of) }));
  const handover = linesOf(
    {
      title: 'Hand-over to a warm slot as the shard grows',
      note: 'from “inputs are committed” to the first call of the stage’s code; both axes logarithmic',
      xLabel: 'size of the shard',
      yLabel: 'ms',
      xText: sizeText,
      yText: String,
    },
    [
      { label: 'median', points: share(0.5), emphasis: true },
      { label: '99th percentile', points: share(0.99) },
    ],
  );
  return [...pictures, ['handover.svg', handover]];
}

/** Where Podline becomes the cheaper one: against the fastest over HTTP. */
function marksOf(points: readonly GrowthPoint[], xText: (value: number) => string): { x: number; label: string }[] {
  const own = points.filter(({ runner }) => runner === 'podline');
  const others = [...new Map(points.filter(({ runner }) => /^http/.test(runner)).map(({ runner, title }) => [runner, title]))];
  const crossings = others.flatMap(([runner, title]) => {
    const found = breakEvenOf(
      own,
      points.filter((point) => point.runner === runner),
    );
    return typeof found === 'object' ? [{ x: found.at, title }] : [];
  });
  const last = crossings.sort((a, b) => b.x - a.x)[0];
  return last === undefined ? [] : [{ x: last.x, label: `Podline takes less than ${last.title} from ${xText(last.x)} on` }];
}
