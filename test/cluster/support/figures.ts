/** Figures of a run: printed for whoever reads the log, and kept as JSON in the folder that PODLINE_CLUSTER_FIGURES names. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';

/** Its load is the mean over five minutes: of the tests, and of whatever else ran. */
export const machine = (): string =>
  `${String(cpus().length)} cores (${cpus()[0]?.model.trim() ?? 'unknown'}), ${String(Math.round(totalmem() / 2 ** 30))} GiB, Node ${process.versions.node}, load ${(loadavg()[1] ?? 0).toFixed(1)}`;

export function keepFigures(name: string, figures: object[]): void {
  const table = figures.map((row) =>
    Object.entries(row)
      .map(([word, value]) => `${word} ${String(value)}`)
      .join('  '),
  );
  console.info([`${name}, on ${machine()}`, ...table].join('\n'));
  const dir = process.env['PODLINE_CLUSTER_FIGURES'];
  if (dir === undefined || dir === '') return;
  mkdirSync(dir, { recursive: true });
  const at = new Date().toISOString().slice(0, 10);
  writeFileSync(join(dir, `${name}.json`), `${JSON.stringify({ at, machine: machine(), figures }, null, 1)}\n`);
}
