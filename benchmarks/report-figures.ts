/** The figures that are no comparison of whole shards: columns, load, threads, checkpoints, utilisation. Pure. */
import { describeCheckpoints } from './checkpoints/main.js';
import { fine, mib, spreadText, table, whole } from './format.js';
import { journalPart } from './journal/report.js';
import type { BenchResults } from './results.js';
import { spreadOf } from './statistics.js';

export function figurePart({ columns, load, threads, slowdown, checkpoints, pipelining, journal }: BenchResults): string[] {
  return [
    ...(columns === undefined
      ? []
      : [
          '## Columns by reference',
          '',
          `${whole(columns.rows)} rows. A stage that adds a tenth column to nine wrote ${mib(columns.writtenBytes)} MiB; the values of that column are ${mib(columns.columnBytes)} MiB. While five stages, each in a warm slot, replaced one of eight columns, the scratch held ${mib(columns.scratchPeakBytes)} MiB at most, where ${mib(columns.liveBytes)} MiB were columns that something to come still read, at their most. With all stages streaming at once it held ${mib(columns.streamingPeakBytes)} MiB.`,
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
          'Load: the line’s own report, from the opened source to the committed stream. Readers: in a process of their own, one thread, the best of three. Library: hyparquet decoding all columns, chunk by chunk. CSV and NDJSON are the orders of (c); Parquet the 3,000,000 flights.',
          '',
        ]),
    ...(threads === undefined
      ? []
      : [
          '## Two threads',
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
          `${pipelining.shards} shards of ${mib(pipelining.shardBytes)} MiB, one CPU-bound stage, one slot, one thread, four resident: the stage worked ${pipelining.utilisation.map((share) => `${fine(share * 100)} %`).join(', ')} of the time from the first submission to the last result.`,
          '',
        ]),
    ...(journal === undefined ? [] : journalPart(journal)),
  ];
}
