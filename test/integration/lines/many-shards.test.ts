/** Very many small shards through four lines. PODLINE_MANY_SHARDS says how many. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { RunSummary } from '../../../runtime/cli/summary.js';
import { Bench } from '../../support/podline.js';
import { until } from '../../support/until.js';
import { adding, csvInput } from '../../support/deeds.js';

const shards = Number(process.env['PODLINE_MANY_SHARDS'] ?? 2_000);
const lines = 4;
/** Of the coordinator with all its shards and events: journal, API, driver and view. */
const coordinatorBytesMax = 400 * 1024 * 1024;

it(`takes ${String(shards)} shards through ${String(lines)} lines, each once, evenly spread, in bounded memory`, async () => {
  const bench = Bench.make();
  const rows = ['id,name,amount'];
  for (let id = 0; id < shards; id++) rows.push(`${String(id)},n,${String(id % 1_000)}`);
  bench.file('rows.csv', `${rows.join('\n')}\n`);
  bench.file('one.mjs', adding('one', 1));
  bench.pipeline('many', {
    input: csvInput(1),
    slots: 1,
    stages: [{ name: 'one', uses: './one.mjs', workers: 1, bound: 'io' }],
    checkpoints: { ssd: 'auto' },
  });
  const run = bench.start({ args: ['--lines', String(lines)] });
  const client = await bench.client();
  // Just before the end, when everything that grows has grown.
  const resident = await until(async () => {
    if (!run.isAlive) return 0;
    const { completed } = await client.progress('many').catch(() => ({ completed: 0 }));
    return completed >= shards * 0.99 && residentBytes(run.pid);
  });
  expect(await run.ended, run.stderr + bench.logs(1_000)).toMatchObject({ code: 0 });
  expect(resident).toBeGreaterThan(0);
  expect(resident).toBeLessThan(coordinatorBytesMax);

  const summary = run.json<RunSummary>();
  expect(summary.shards).toEqual({ pending: 0, running: 0, completed: shards, failed: 0, cancelled: 0 });
  const journal = await bench.journal();
  const byLine = new Map<string, number>();
  for (const { line = '' } of journal.shards) byLine.set(line, (byLine.get(line) ?? 0) + 1);
  const shares = [...byLine.values()].map((count) => count / shards);
  console.log(
    `${String(shards)} shards in ${(summary.elapsedMs / 1000).toFixed(1)} s; coordinator ${String(Math.round(resident / 2 ** 20))} MiB; shares ${shares.map((share) => (share * 100).toFixed(1)).join(' ')} %`,
  );
  expect(byLine.size).toBe(lines);
  for (const share of shares) expect(Math.abs(share - 1 / lines)).toBeLessThanOrEqual(0.04);
  const completions = journal.events.filter(({ type }) => type === 'shard.completed').map(({ shardId }) => shardId);
  expect(new Set(completions).size).toBe(completions.length);
  expect(journal.shards.every(({ epoch, report }) => epoch === 1 && report?.stages[0]?.runs === 1)).toBe(true);
}, 600_000);

function residentBytes(pid: number): number | undefined {
  try {
    const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${String(pid)}/status`, 'utf8'))?.[1];
    return kib === undefined ? undefined : Number(kib) * 1024;
  } catch {
    return undefined;
  }
}
