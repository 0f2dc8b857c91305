/** Results as Markdown: the table of what was to be shown first, then what it comes from. Pure. */
import { fine, leftOut, mib, moved, sizeText, spreadText, table, timesText, whole } from './format.js';
import { goalsOf } from './goals.js';
import { figurePart } from './report-figures.js';
import { growthPart, smallPart } from './report-sizes.js';
import type { BenchResults, ComparisonResult } from './results.js';
import { rowsOf } from './rows.js';
import { spreadOf } from './statistics.js';

/** What is kept with the code: the report, and its pictures by name. `notes`: pages on figures that do not hold. */
export function recordOf(results: BenchResults, notes: readonly string[], pictures: readonly string[]): string {
  // The largest shards are in a record only where it was asked for them.
  const isFull = (results.growth?.points ?? []).some(
    ({ series, size }) => series === 'bytes' && size >= 2 ** 32 * results.options.scale,
  );
  const command = `npm run bench -- --record${isFull ? ' --full' : ''}`;
  return [
    markdownOf(results, notes),
    '## Pictures',
    '',
    ...pictures.flatMap((name) => [`![${name}](pictures/${name})`, '']),
    `Recorded with \`${command}\`, in one go or part by part (\`--only\`), as the table of parts says; rendered from results.json with \`npm run bench -- --render\`; see [README.md](README.md) for what the figures mean.`,
    '',
  ].join('\n');
}

/** `notes` are added at the end. */
export function markdownOf(results: BenchResults, notes: readonly string[] = []): string {
  return [
    '# Benchmark',
    '',
    ...head(results),
    '## What it was to show',
    '',
    goalTable(results),
    '',
    ...results.comparisons.flatMap(comparisonPart),
    ...smallPart(results),
    ...growthPart(results),
    ...figurePart(results),
    ...limitsPart(results),
    ...runsPart(results),
    ...settingsPart(results),
    ...notes.flatMap((note) => [note.trim(), '']),
  ].join('\n');
}

/** What is missing because somebody ended the run. */
function endedEarly(broken: BenchResults['broken']): string[] {
  const ended = broken.filter(({ isEnded }) => isEnded === true);
  if (ended.length === 0) return [];
  return [`**Not measured**, because the run was ended early: ${ended.map(({ part }) => part).join(', ')}.`, ''];
}

function head({ at, machine, options, tookMs, broken }: BenchResults): string[] {
  const { repeats, seed, record, scale, only } = options;
  return [
    `${at}; ${machine.cpu}, ${machine.cores} cores, ${whole(machine.memoryBytes / 2 ** 30)} GiB, ${machine.os}, Node ${machine.node}, podline ${machine.podline}.`,
    record
      ? `Recorded: ${repeats} repeats, in an order drawn anew for each (seed ${seed}), where a row or the words above a table do not say another number.`
      : `A short run: ${repeats} repeats, in an order drawn anew for each (seed ${seed}); runners that need more than 5 s are measured once. \`npm run bench -- --record\` measures all of them as often as the report then says.`,
    ...(scale === 1 ? [] : [`**Shards are ${scale} times their real size: the table below says nothing about the real one.**`]),
    ...(only === undefined ? [] : [`Only ${only.join(', ')}.`]),
    `Medians, with the smallest and largest in parentheses. Took ${whole(tookMs / 1000)} s. Load average before and after: ${machine.loadBefore.map((load) => load.toFixed(1)).join(' ')}, ${machine.loadAfter.map((load) => load.toFixed(1)).join(' ')}.`,
    '',
    ...broken.flatMap(({ part, message, isEnded }) => (isEnded === true ? [] : [`**${part} broke:** ${message}`, ''])),
    ...endedEarly(broken),
  ];
}

export function goalTable(results: BenchResults): string {
  const rows = goalsOf(results).map(({ figure, wanted, reached, holds }) => [
    figure,
    wanted,
    reached,
    holds === undefined ? '—' : holds ? 'yes' : '**no**',
  ]);
  return table(['figure', 'wanted', 'reached', 'holds'], rows, [0, 1, 2]);
}

function comparisonPart(comparison: ComparisonResult): string[] {
  const { title, shardBytes, repeats, referenceBy, runners } = comparison;
  const rows = rowsOf(comparison);
  const times = (name: string): string => {
    const note = runners.find((runner) => runner.name === name);
    return note?.repeats === undefined ? '' : ` (measured ${timesText(note.repeats)})`;
  };
  return [
    `## ${title}`,
    '',
    `A shard of ${sizeText(shardBytes)}, ${repeats} repeats; reference: ${referenceBy}. Span: from “the first process has the input in memory” to “the last stage has its output”; for Podline by its own report, in which all processes use one clock. Wall and CPU: from the shard’s submission to its result, reading the source included.`,
    '',
    table(
      ['', 'span, ms', 'wall, ms', 'CPU, ms', 'peak RSS, MiB', 'peak memory, MiB', 'result'],
      rows.map((row) => [
        row.title + times(row.name),
        ...(row.isVoid
          ? ['void', 'void', 'void', 'void', 'void', '**differs**']
          : [
              row.spanMs === undefined ? '—' : spreadText(row.spanMs),
              spreadText(row.wallMs, whole),
              spreadText(row.cpuMs, whole),
              mib(row.peakRssBytes.median),
              mib(row.peakMemoryBytes.median),
              'equal',
            ]),
      ]),
    ),
    '',
    ...leftOut(runners),
    table(
      ['MiB read / written', 'memory', 'ssd', 'network'],
      rows.map(({ title: name, bytes }) => [
        name,
        ...(['memory', 'ssd', 'network'] as const).map((medium) => moved(bytes[medium])),
      ]),
    ),
    '',
  ];
}

function limitsPart({ limits }: BenchResults): string[] {
  const rows = [
    ['memcpy, 4 MiB pieces', 'memcpy'],
    ['tmpfs, write', 'tmpfsWrite'],
    ['tmpfs, read', 'tmpfsRead'],
    ['disk, write and fsync', 'diskWriteSync'],
  ] as const;
  return [
    '## Limits of the machine, beside the parts',
    '',
    `Measured ${timesText(limits.length)}: before and after each part.`,
    '',
    table(
      ['GiB/s', 'median (min–max)'],
      rows.map(([title, name]) => [title, spreadText(spreadOf(limits.map((limit) => limit[name] / 2 ** 30)), fine)]),
    ),
    '',
  ];
}

/** A record may be of several runs; each part is of one. */
function runsPart({ parts }: BenchResults): string[] {
  const load = (loads: readonly number[]): string => loads.map((value) => value.toFixed(1)).join(' ');
  const rows = Object.entries(parts).map(([name, { at, commit, tookMs, loadBefore, loadAfter, limits }]) => [
    name,
    at,
    commit === undefined ? 'not recorded' : `${commit.id.slice(0, 12)}${commit.isDirty ? ', changed' : ''}`,
    whole(tookMs / 1000),
    load(loadBefore),
    load(loadAfter),
    spreadText(spreadOf(limits.map(({ memcpy }) => memcpy / 2 ** 30)), fine),
  ]);
  return [
    '## When each part ran',
    '',
    table(['part', 'at', 'commit', 'took, s', 'load average before', 'after', 'memcpy beside it, GiB/s'], rows, [0, 1, 2]),
    '',
    'Commit: “changed” where the tree was not as committed. Load average: of 1, 5 and 15 minutes; the parts’ own work is in what stands behind one.',
    '',
  ];
}

function settingsPart({ comparisons }: BenchResults): string[] {
  const settings = new Map(
    comparisons.flatMap(({ runners }) =>
      runners.flatMap((note) => (note.settings === undefined ? [] : [[note.title, note.settings]])),
    ),
  );
  if (settings.size === 0) return [];
  return ['## How the peers are set up', '', ...[...settings].map(([title, words]) => `- **${title}**: ${words}.`), ''];
}
