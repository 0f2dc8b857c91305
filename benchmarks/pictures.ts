/** The pictures of a run, by file name. Pure. */
import { barsOf, type Bar } from './bars.js';
import { rowsOf, type RunnerRow } from './report.js';
import { floorRunner, type BenchResults } from './results.js';

export function picturesOf(results: BenchResults): Record<string, string> {
  const rows = rowsOf(results).filter(({ isVoid }) => !isVoid);
  const bars = (value: (row: RunnerRow) => Omit<Bar, 'label'>): Bar[] =>
    rows.map((row) => ({ label: row.title, emphasis: row.name.startsWith('podline'), ...value(row) }));
  const milliseconds = (value: number): string => `${Math.round(value).toLocaleString('en-US')} ms`;
  const note = `${results.options.rows.toLocaleString('en-US')} rows, ${results.stages.length} stages; median of ${results.options.repeats}, line from min to max`;
  return {
    'wall.svg': barsOf(
      'Time from submission to result',
      note,
      bars(({ wallMs: { median: value, min, max } }) => ({ value, min, max })),
      milliseconds,
    ),
    'cpu.svg': barsOf(
      'CPU time of all processes',
      note,
      bars(({ cpuMs: { median: value, min, max } }) => ({ value, min, max })),
      milliseconds,
    ),
    'added-cpu.svg': barsOf(
      'CPU time beyond one process, per stage',
      `what it costs to connect the stages; ${note}`,
      rows
        .filter(({ name }) => name !== floorRunner)
        .map(({ title, name, addedCpuMs }) => ({ label: title, emphasis: name.startsWith('podline'), value: addedCpuMs })),
      milliseconds,
    ),
    'network.svg': barsOf(
      'Bytes sent and received between processes',
      note,
      bars(({ bytes: { network } }) => ({ value: (network.read + network.written) / 2 ** 20 })),
      (value) => `${Math.round(value).toLocaleString('en-US')} MiB`,
    ),
  };
}
