/** The figures that are no comparison of whole shards: columns, load, threads, checkpoints, utilisation. Pure. */
import { describeCheckpoints } from './checkpoints/main.js';
import type { FirstRunFigures } from './figures/first-run.js';
import type { LoadFigures } from './figures/load.js';
import { fine, mib, spreadText, table, timesText, whole } from './format.js';
import { journalPart } from './journal/report.js';
import type { ThreadFigures } from './figures/threads.js';
import type { BenchResults } from './results.js';
import { spreadOf } from './statistics.js';

/** How often, where some of them may have been measured less often. */
function countsText(counts: readonly number[]): string {
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  return least === most ? timesText(least) : `${least} to ${most} times`;
}

/** What a slow single thread does to the ratio of the two. */
function slowOne({ oneMs, bare }: ThreadFigures): string {
  const share = spreadOf(oneMs).median / spreadOf(bare.map((pair) => pair.oneMs)).median;
  if (share <= 1) return '';
  return ` Podline’s one thread takes ${fine(share)} times as long as the bare one: that lifts the gain of its second one, and the ratio above with it.`;
}

/** One thread beside one thread. */
function threadWords({ formats }: LoadFigures): string {
  const words = formats.flatMap(({ format, readers }) =>
    readers?.libraryMs === undefined
      ? []
      : [
          ` On one thread each, nothing kept, Podline’s reader of ${format} takes ${whole(readers.readerMs)} ms and the library ${whole(readers.libraryMs)} ms.`,
        ],
  );
  return `${words.join('')} A load on one thread was not measured.`;
}

function firstRunPart({ blocks, blockBytes, atOnce, rehearsed }: FirstRunFigures): string[] {
  const row = (name: string, runs: typeof atOnce): string[] => [
    name,
    spreadText(spreadOf(runs.map(({ startMs }) => startMs)), fine),
    spreadText(spreadOf(runs.map(({ startMs, workMs }) => workMs - startMs)), fine),
  ];
  return [
    '## The first run of a process',
    '',
    `A new shim each time, one stage that hands over ${blocks} blocks of ${blockBytes / 1024} KiB, measured ${timesText(atOnce.length)} each, in turns. From the request’s arrival in the slot; what is on the way before that is not in it.`,
    '',
    table(
      ['ms', 'to the first call', 'from there to the end'],
      [row('started as soon as it was ready', atOnce), row('after it had rehearsed', rehearsed)],
    ),
    '',
  ];
}

export function figurePart({
  columns,
  load,
  threads,
  slowdown,
  checkpoints,
  pipelining,
  first,
  journal,
}: BenchResults): string[] {
  return [
    ...(columns === undefined
      ? []
      : [
          '## Columns by reference',
          '',
          `${whole(columns.rows)} rows, measured ${timesText(columns.repeats ?? 1)}${(columns.repeats ?? 1) > 1 ? ', the largest of each figure' : ''}. A stage that adds a tenth column to nine wrote ${mib(columns.writtenBytes)} MiB; the values of that column are ${mib(columns.columnBytes)} MiB. While five stages, each in a warm slot, replaced one of eight columns, the scratch held ${mib(columns.scratchPeakBytes)} MiB at most, where ${mib(columns.liveBytes)} MiB were columns that something to come still read, at their most. With all stages streaming at once it held ${mib(columns.streamingPeakBytes)} MiB.`,
          '',
        ]),
    ...(load === undefined
      ? []
      : [
          '## Load into the scratch',
          '',
          table(
            ['', 'source, MiB', 'load, ms', 'MiB/s of source', 'Podline’s reader, nothing kept, ms', 'library, ms'],
            load.formats.map(({ format, sourceBytes, loadMs, readers }) => {
              const spread = spreadOf(loadMs);
              return [
                format,
                mib(sourceBytes),
                spreadText(spread, whole),
                whole((sourceBytes / 2 ** 20 / spread.median) * 1000),
                readers === undefined ? '—' : whole(readers.readerMs),
                readers?.libraryMs === undefined ? '—' : whole(readers.libraryMs),
              ];
            }),
          ),
          '',
          `Loads were measured ${countsText(load.formats.map(({ loadMs }) => loadMs.length))}, medians with the smallest and largest. Load: the line’s own report, from the opened source to the committed stream; a large source is decoded by as many threads as there are processors, up to eight, so that a load may be faster than any reader by itself. Readers: in a process of their own, one thread, the best of three. Library: hyparquet decoding all columns, chunk by chunk; CSV and NDJSON have no library here, “reader” is Podline’s own. CSV and NDJSON are the orders of (c); Parquet the 3,000,000 flights.${threadWords(load)}`,
          '',
        ]),
    ...(threads === undefined
      ? []
      : [
          '## Two threads',
          '',
          `Each measured ${countsText([threads.oneMs.length, threads.twoMs.length, threads.bare.length])}, in turns. Podline: from the start of the run to its commit. Bare: the same loop on as many blocks, nothing kept.${slowOne(threads)}`,
          '',
          table(
            ['ms', 'one thread', 'two threads'],
            [
              [
                'Podline, work of the stage',
                spreadText(spreadOf(threads.oneMs), whole),
                spreadText(spreadOf(threads.twoMs), whole),
              ],
              [
                'bare threads',
                spreadText(spreadOf(threads.bare.map(({ oneMs }) => oneMs)), whole),
                spreadText(spreadOf(threads.bare.map(({ twoMs }) => twoMs)), whole),
              ],
            ],
          ),
          '',
        ]),
    ...(slowdown === undefined
      ? []
      : [
          '## Stages beside checkpoints',
          '',
          `Each measured ${countsText([slowdown.withoutMs.length, slowdown.withMs.length])}, in turns.`,
          '',
          table(
            ['XOR in five stages, work, ms', ''],
            [
              ['no checkpoints', spreadText(spreadOf(slowdown.withoutMs), whole)],
              ['a checkpoint after each stage', spreadText(spreadOf(slowdown.withMs), whole)],
            ],
          ),
          '',
        ]),
    ...(checkpoints === undefined
      ? []
      : ['## Checkpoints by themselves', '', '```', describeCheckpoints(checkpoints), '```', '']),
    ...(pipelining === undefined
      ? []
      : [
          '## Back to back',
          '',
          `${pipelining.shards} shards of ${mib(pipelining.shardBytes)} MiB, one CPU-bound stage, one slot, one thread, four resident, measured ${timesText(pipelining.utilisation.length)}: the stage worked ${pipelining.utilisation.map((share) => `${fine(share * 100)} %`).join(', ')} of the time from the first submission to the last result.`,
          '',
        ]),
    ...(first === undefined ? [] : firstRunPart(first)),
    ...(journal === undefined ? [] : journalPart(journal)),
  ];
}
