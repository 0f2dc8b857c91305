/**
 * The whole chain of agent and static shim, as a foreign image has it, without a cluster: the commands of a pipeline run under the
 * static shim, the result is that of the Node shim, and kill -9 of shim, supervisor and program at any moment costs one run of a stage.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { RunSummary } from '../../../runtime/cli/summary.js';
import { env } from '../../../runtime/contracts/env.js';
import { Random } from '../../simulation/random.js';
import { Bench, type PodlineProcess, type Role } from '../../support/podline.js';
import { until } from '../../support/until.js';
import { needs } from '../../support/require.js';
import { staticShim } from '../../support/static-shim.js';

const rows = 6_000;
const shards = 3;
const trials = Math.ceil(Number(process.env['PODLINE_KILL_TRIALS'] ?? 12) / 3);
const seed = Number(process.env['PODLINE_SEED'] ?? 1);

/** Each of its stages is a program: rows in and out, bytes, files. Each tells of its start. */
function commandPipeline(bench: Bench): Bench {
  bench.file(
    'rows.csv',
    `id,city\n${Array.from({ length: rows }, (_, id) => `${String(id)},city ${String(id % 7)}`).join('\n')}\n`,
  );
  const told = `echo "$PODLINE_SHARD_KEY $PODLINE_STAGE" >> ${join(bench.dir, 'told')}`;
  return bench.pipeline('commands', {
    input: {
      source: './rows.csv',
      format: 'csv',
      columns: { id: 'int32', city: 'utf8' },
      chunk: { rows: rows / shards },
      blockRows: 500,
    },
    scratch: { size: '64Mi' },
    slots: 2,
    stages: [
      { name: 'renamed', command: ['sh', '-c', `${told}; sed "s/city \\([0-9]\\)/town-\\1/"`], stdio: 'ndjson', retries: 9 },
      { name: 'filtered', after: ['renamed'], command: ['sh', '-c', `${told}; grep town-3`], stdio: 'ndjson', retries: 9 },
      {
        name: 'sum',
        after: ['filtered'],
        command: ['sh', '-c', `${told}; cksum < "$PODLINE_INPUT_DIR/filtered.arrow" > "$PODLINE_OUTPUT_DIR/sum"`],
        output: 'bytes',
        retries: 9,
      },
      {
        name: 'parts',
        after: ['sum', 'renamed'],
        command: [
          'sh',
          '-c',
          // What it starts may be killed by itself: a shell that went on behind that would end well with half of the files.
          `${told} && mkdir "$PODLINE_OUTPUT_DIR/deep" && cat "$PODLINE_INPUT_DIR/sum.bin" > "$PODLINE_OUTPUT_DIR/deep/sum.txt" && wc -c < "$PODLINE_INPUT_DIR/renamed.arrow" > "$PODLINE_OUTPUT_DIR/size.txt"`,
        ],
        output: 'files',
        retries: 9,
      },
    ],
    result: { format: 'csv', stages: ['filtered', 'parts'] },
  });
}

const underStatic = { args: ['--lines', '2'], env: { [env.shim]: 'static' } };

/** Programs of the run: the static shims, what supervises, what is supervised. */
function victim(bench: Bench, role: Role, random: Random): number | undefined {
  const found = bench.processes().filter((process) => process.role === role);
  return found[random.int(0, Math.max(0, found.length - 1))]?.pid;
}

async function killed(bench: Bench, run: PodlineProcess, random: Random): Promise<void> {
  const role: Role = random.chance(0.5) ? 'slot' : 'stage';
  let patience = random.int(0, 25);
  const pid = await until(() => {
    if (!run.isAlive) return -1;
    const found = victim(bench, role, random);
    return found !== undefined && patience-- <= 0 && found;
  });
  if (pid < 0) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself meanwhile.
  }
}

/** Of a run that nobody disturbed, once for all trials. */
let baseline: Promise<RunSummary> | undefined;

needs('go').describe('a pipeline of commands under the static shim', () => {
  needs('go').it('has the result that it has under the Node shim, each stage run once on each shard', async () => {
    staticShim();
    const [one, other] = [commandPipeline(Bench.make()), commandPipeline(Bench.make())];
    const expected = await one.run({ args: ['--lines', '2'] });
    const summary = await other.run(underStatic);
    expect(summary.shards.completed).toBe(shards);
    expect(summary.hash).toBe(expected.hash);
    const told = readFileSync(join(other.dir, 'told'), 'utf8').trim().split('\n');
    expect(told).toHaveLength(4 * shards);
    expect(new Set(told).size).toBe(4 * shards);
  });

  for (let trial = 0; trial < trials; trial++) {
    needs('go').it(
      `survives kill -9 of shims, supervisors and programs (PODLINE_SEED=${String(seed)}, trial ${String(trial)})`,
      async () => {
        staticShim();
        const random = new Random(seed * 1_000 + trial);
        const undisturbed = await (baseline ??= commandPipeline(Bench.make()).run(underStatic));
        const bench = commandPipeline(Bench.make());
        const run = bench.start(underStatic);
        const kills = random.int(1, 4);
        for (let count = 0; count < kills; count++) await killed(bench, run, random);
        const { code } = await run.ended;
        expect(code, `${run.stderr}\n${bench.logs()}`).toBe(0);
        const summary = run.json<RunSummary>();
        expect(summary.hash).toBe(undisturbed.hash);
        await bench.quiet();
        const { events } = await bench.journal();
        const completed = events
          .filter(({ type }) => type === 'stage.completed')
          .map(({ shardId, data }) => `${String(shardId)} ${String(data['stage'])}`);
        // Each stage of each shard was committed once, and a kill began at most one run anew.
        expect(completed.sort()).toEqual([...new Set(completed)].sort());
        expect(completed).toHaveLength(4 * shards);
        expect(events.filter(({ type }) => type === 'stage.started').length).toBeLessThanOrEqual(4 * shards + kills);
        expect(existsSync(bench.places.scratchRoot) && readdirSync(bench.places.scratchRoot)).toEqual([]);
      },
    );
  }
});
