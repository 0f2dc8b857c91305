/**
 * The main job, held against an independent computation: DuckDB reads the same source and works out the same aggregates.
 *
 * One run of the pipeline serves all tests of this file.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../../runtime/platform/entries.js';
import type { RunSummary } from '../../../runtime/cli/summary.js';
import { CliFolder, exampleManifest, memoryOfTree, startCli, type Ended } from '../../support/cli.js';

const data = join(packageRoot, 'node_modules', 'vega-datasets', 'data');
const memoryBytesMax = 1.5 * 1024 ** 3;
const sampleEveryMs = 50;

const folder = new CliFolder();
let ended: Ended;
let summary: RunSummary;
let peak = { processes: 0, bytes: 0 };
let database: DuckDBConnection;

/** The rules of examples/flights/clean.ts, features.ts and aggregate.ts, once more, in SQL. */
const expected = `
  WITH flights AS (
    SELECT origin AS airport, month(date) AS month, hour(date) AS hour, delay, distance
    FROM read_parquet('${join(data, 'flights-3m.parquet')}')
    WHERE date IS NOT NULL AND delay IS NOT NULL AND distance IS NOT NULL AND origin IS NOT NULL AND destination IS NOT NULL
      AND abs(delay) <= 24 * 60 AND distance > 0
  ),
  airports AS (SELECT iata, state FROM read_csv('${join(data, 'airports.csv')}', header = true, all_varchar = true))
  SELECT airport, coalesce(any_value(airports.state), '?') AS state, month, hour,
    count(*) AS flights, count(*) FILTER (delay > 15) AS late, sum(delay) AS delayMinutes,
    sum(delay) / count(*) AS meanDelayMinutes, max(delay) AS worstDelayMinutes, sum(distance) AS distanceMiles
  FROM flights LEFT JOIN airports ON airports.iata = flights.airport
  GROUP BY airport, month, hour`;
const numbers = ['flights', 'late', 'delayMinutes', 'meanDelayMinutes', 'worstDelayMinutes', 'distanceMiles'];

async function query(sql: string): Promise<Record<string, string | number>[]> {
  const rows = (await (await database.run(sql)).getRowObjectsJS()) as Record<string, string | number | bigint>[];
  return rows.map((row) =>
    Object.fromEntries(Object.entries(row).map(([name, value]) => [name, typeof value === 'bigint' ? Number(value) : value])),
  );
}

beforeAll(async () => {
  const run = startCli(
    ['run', exampleManifest('flights'), '--work-dir', folder.workDir, '--result-dir', folder.resultDir, '--json'],
    { cwd: folder.dir },
  );
  const sampler = setInterval(() => {
    const { processes, bytes } = memoryOfTree(run.child.pid ?? 0);
    // What of the scratch is mapped counts twice: an upper bound.
    const all = bytes + folder.sharedBytes();
    if (all > peak.bytes) peak = { processes, bytes: all };
  }, sampleEveryMs);
  ended = await run.ended;
  clearInterval(sampler);
  summary = JSON.parse(ended.stdout) as RunSummary;
  database = await (await DuckDBInstance.create(':memory:')).connect();
  const [result] = summary.results;
  await database.run(`CREATE TABLE expected AS ${expected}`);
  await database.run(`CREATE TABLE actual AS SELECT * FROM read_parquet('${join(result?.dir ?? '', 'aggregate.parquet')}')`);
});

afterAll(() => {
  database.closeSync();
  folder.remove();
});

describe('the flights example', () => {
  it('completes with exit code 0 and leaves nothing in memory', () => {
    expect(ended.code).toBe(0);
    expect(summary.shards).toEqual({ pending: 0, running: 0, completed: 1, failed: 0, cancelled: 0 });
    expect(folder.leftovers()).toEqual([]);
  });

  it('gives every airport, month and hour that there is, each once', async () => {
    const missing = await query('SELECT airport, month, hour FROM expected EXCEPT ALL SELECT airport, month, hour FROM actual');
    const surplus = await query('SELECT airport, month, hour FROM actual EXCEPT ALL SELECT airport, month, hour FROM expected');
    expect({ missing, surplus }).toEqual({ missing: [], surplus: [] });
    expect((await query('SELECT count(*) AS rows FROM actual'))[0]).toEqual({ rows: 19_802 });
  });

  it('gives every number that an independent computation gives', async () => {
    // Sums of whole numbers, and one division of the same two: not one bit may differ.
    const differs = ['state', ...numbers].map((name) => `a."${name}" IS DISTINCT FROM e."${name}"`).join(' OR ');
    const different = await query(
      `SELECT a.airport, a.month, a.hour FROM actual a JOIN expected e USING (airport, month, hour) WHERE ${differs}`,
    );
    expect(different).toEqual([]);
  });

  it('sorts its rows by airport, month and hour', async () => {
    const rows = await query('SELECT airport, month, hour FROM actual');
    const keys = rows.map(
      ({ airport, month, hour }) => `${String(airport)} ${String(month).padStart(2, '0')} ${String(hour).padStart(2, '0')}`,
    );
    expect(keys).toEqual([...keys].sort());
  });

  it('reports the same sums by hour, month and airport as numbers', async () => {
    const report = JSON.parse(readFileSync(join(summary.results[0]?.dir ?? '', 'report.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    const sums = 'sum(flights) AS flights, sum(late) AS late, sum(delayMinutes) AS delayMinutes FROM expected';
    const by = (column: string, order: string): Promise<unknown[]> =>
      query(`SELECT CAST(${column} AS VARCHAR) AS name, ${sums} GROUP BY ${column} ORDER BY ${order}`);
    expect(report).toEqual({
      lateAfterMinutes: 15,
      all: (await query(`SELECT 'all' AS name, ${sums}`))[0],
      byHour: await by('hour', 'hour'),
      byMonth: await by('month', 'month'),
      byAirport: await by('airport', 'flights DESC, airport'),
    });
  });

  it('shows a page that needs nothing from elsewhere', () => {
    const html = readFileSync(join(summary.results[0]?.dir ?? '', 'report.html'), 'utf8');
    expect(html).toContain('2,999,992 flights');
    expect(html).not.toMatch(/<script|https?:\/\/|NaN|undefined/);
  });

  it('tells bytes by medium, swaps and hand-overs of every stage', () => {
    expect(summary.stages.map((stage) => stage.stage)).toEqual(['clean', 'airports', 'features', 'aggregate', 'report']);
    for (const stage of summary.stages) {
      expect(stage.runs).toBe(1);
      expect(stage.bytes.memory.read).toBeGreaterThan(0);
      expect(stage.bytes.memory.written).toBeGreaterThan(0);
      expect(stage.swapMs).toBeGreaterThan(0);
      expect(stage.handoverMs.max).toBeGreaterThanOrEqual(stage.handoverMs.p50);
    }
    expect(summary.swaps).toBe(5);
    expect(summary.sourceReads).toBe(1);
    expect(summary.bytes.volume).toEqual({ read: 0, written: 0 });
    expect(summary.bytes.network).toEqual({ read: 0, written: 0 });
    // Selecting rows and adding columns does not write the columns that stay.
    expect(summary.bytes.memory.written).toBeLessThan(summary.bytes.memory.read);
  });

  it.runIf(process.platform === 'linux')('stays under 1.5 GiB in all its processes together', (context) => {
    const mib = (peak.bytes / 1024 ** 2).toFixed(0);
    void context.annotate(`peak ${mib} MiB in ${String(peak.processes)} processes`);
    expect(peak.processes).toBeGreaterThan(2);
    expect(peak.bytes).toBeLessThan(memoryBytesMax);
  });

  it('runs its last stage again on what the checkpoint of a completed shard holds', async () => {
    const args = [
      'resume',
      exampleManifest('flights'),
      '--work-dir',
      folder.workDir,
      '--result-dir',
      folder.resultDir,
      '--from',
      'report',
      '--json',
    ];
    const again = JSON.parse((await startCli(args, { cwd: folder.dir }).ended).stdout) as RunSummary;
    expect(again.hash).toBe(summary.hash);
    expect(again.sourceReads).toBe(0);
    const outcomes = again.stages.map(({ stage, runs, restored, skipped }) => [stage, runs, restored, skipped]);
    expect(outcomes).toEqual([
      ['clean', 0, 0, 1],
      ['airports', 0, 0, 1],
      ['features', 0, 0, 1],
      ['aggregate', 0, 1, 0],
      ['report', 1, 0, 0],
    ]);
    expect(folder.leftovers()).toEqual([]);
  });
});
