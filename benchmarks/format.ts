/** Numbers and tables in words, for reports and pictures. Pure. */
import type { RunnerNote } from './results.js';
import type { Spread } from './statistics.js';

export const whole = (value: number): string => Math.round(value).toLocaleString('en-US').replace('-', '−');
/** Three digits or so. */
export const fine = (value: number): string =>
  Math.abs(value) >= 100 ? whole(value) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2);
export const mib = (bytes: number): string => whole(bytes / 2 ** 20);
export const sizeText = (bytes: number): string =>
  bytes >= 2 ** 30
    ? `${fineless(bytes / 2 ** 30)} GiB`
    : bytes >= 2 ** 20
      ? `${fineless(bytes / 2 ** 20)} MiB`
      : `${fineless(bytes / 1024)} KiB`;
/** With two digits: what was found between two measurements. */
export const sizeAbout = (bytes: number): string => {
  const unit = bytes >= 2 ** 30 ? 2 ** 30 : bytes >= 2 ** 20 ? 2 ** 20 : 1024;
  return sizeText(Number((bytes / unit).toPrecision(2)) * unit);
};
const fineless = (value: number): string => (Number.isInteger(value) ? String(value) : value.toFixed(1));
export const spreadText = ({ median, min, max }: Spread, text = fine): string => `${text(median)} (${text(min)}–${text(max)})`;
export const moved = ({ read, written }: { read: number; written: number }): string =>
  read === 0 && written === 0 ? '—' : `${mib(read)} / ${mib(written)}`;

export const timesText = (count: number): string => (count === 1 ? 'once' : `${count} times`);

/** In Markdown; the first column to the left, the others to the right, or as `left` says. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], left: readonly number[] = [0]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
  return [line(head), line(head.map((_, index) => (left.includes(index) ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

/** Who is not in a table, and why. */
export function leftOut(runners: readonly RunnerNote[]): string[] {
  const lines = runners.flatMap(({ title, missing, failed, doesNot }) =>
    failed !== undefined
      ? [`- **${title}** failed: ${failed}`]
      : missing !== undefined
        ? [`- **${title}** is not here: ${missing}`]
        : doesNot !== undefined
          ? [`- ${title}: ${doesNot}`]
          : [],
  );
  return lines.length === 0 ? [] : ['Not in this table:', '', ...lines.map((line) => line.replaceAll('\n', ' ')), ''];
}
