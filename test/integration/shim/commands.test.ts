/** Programs of other languages as stages: files in, files out, or rows as lines of JSON. */
import { lstat, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ResolvedStage } from '../../../runtime/contracts/manifest.js';
import { column } from '../../../runtime/index.js';
import { entryPath } from '../../../runtime/platform/entries.js';
import { rowsOf } from '../../../runtime/stages/stream-input.js';
import { BatchSource } from '../../../runtime/stages/batch.js';
import { missing, needs, python } from '../../support/require.js';
import { FakeAgent, stageOf } from '../../support/shim-agent.js';
import { staticShim } from '../../support/static-shim.js';

commands('under the Node shim', [process.execPath, entryPath('sidecars/shim/main')]);
needs('go').describe('of an image that knows nothing of Podline', () => {
  commands('under the static shim', missing('go') === undefined ? [staticShim()] : []);
});

function commands(name: string, shimCommand: readonly string[]): void {
  describe(name, () => {
    let agent: FakeAgent;
    beforeEach(async () => {
      agent = await FakeAgent.start();
      await agent.table(
        'input',
        [
          { name: 'n', type: 'int32', nullable: false },
          { name: 'word', type: 'dictionary', nullable: true },
          { name: 'at', type: 'timestamp[ms]', nullable: false },
          { name: 'id', type: 'int64', nullable: false },
        ],
        [0, 2].map((base) => ({
          rows: 2,
          columns: [
            { name: 'n', data: column.int32.from([base, base + 1]).toData() },
            { name: 'word', data: column.dictionary.from([`w${base}`, null]).toData() },
            { name: 'at', data: column.timestampMs.fromMs([0, 86_400_001]).toData() },
            { name: 'id', data: { type: 'int64' as const, rows: 2, nullCount: 0, values: BigInt64Array.of(7n, 2n ** 60n) } },
          ],
        })),
      );
    });
    afterEach(async () => {
      await agent.close();
    });

    function rows(stream = 'work'): Record<string, unknown>[] {
      const reader = agent.scratch.openReader(agent.shardId);
      const source = new BatchSource(reader, 'test', { form: 'files', keep: 'none' });
      const all = agent.scratch.blocks(agent.shardId, stream).flatMap((block) => rowsOf(source.batch(block)));
      reader.close();
      return all;
    }

    async function run(stage: Partial<ResolvedStage>) {
      const shim = await agent.put(shimCommand, stageOf('work', stage));
      return agent.run(shim, 'work');
    }

    /** A program in Node: present wherever these tests run. */
    async function script(source: string, over: Partial<ResolvedStage> = {}): Promise<Partial<ResolvedStage>> {
      const file = join(agent.dir, 'program.mjs');
      await writeFile(file, source);
      return { command: [process.execPath, file], ...over };
    }

    describe('rows as lines of JSON', () => {
      const lines =
        "import { createInterface } from 'node:readline'; for await (const line of createInterface({ input: process.stdin })) { const row = JSON.parse(line);";

      it('go in and come out, with nulls, times, lists and numbers beyond 2^53', async () => {
        const ended = await run(
          await script(
            `${lines} console.log(JSON.stringify({ ...row, twice: row.n * 2, even: row.n % 2 === 0, list: [row.n], nested: { n: row.n } })); }`,
            { stdio: 'ndjson' },
          ),
        );
        expect(ended.error).toBeUndefined();
        expect(ended.rows).toBe(4);
        expect(rows()[0]).toEqual({
          n: 0,
          word: 'w0',
          at: '1970-01-01T00:00:00.000Z',
          id: 7,
          twice: 0,
          even: true,
          list: [0],
          nested: '{"n":0}',
        });
        expect(rows()[3]).toEqual({
          n: 3,
          word: null,
          at: '1970-01-02T00:00:00.001Z',
          id: 2 ** 60,
          twice: 6,
          even: false,
          list: [3],
          nested: '{"n":3}',
        });
      });

      it('need not be as many, nor end with a line feed', async () => {
        await run(
          await script(`${lines} if (row.n > 2) process.stdout.write(JSON.stringify({ n: row.n })); }`, { stdio: 'ndjson' }),
        );
        expect(rows()).toEqual([{ n: 3 }]);
      });

      it('may be none at all', async () => {
        expect(await run({ command: ['/bin/sh', '-c', 'cat > /dev/null'], stdio: 'ndjson' })).toMatchObject({
          outcome: 'committed',
          rows: 0,
        });
        expect(agent.scratch.stream(agent.shardId, 'work')).toMatchObject({ sealed: true, rows: 0 });
      });

      it('are not waited for when the program reads no more', async () => {
        expect(await run({ command: ['/bin/sh', '-c', 'echo \'{"a":1}\''], stdio: 'ndjson' })).toMatchObject({
          outcome: 'committed',
          rows: 1,
        });
      });

      it.each([
        ['broken JSON', 'echo \'{"a":1}\'; echo; echo \'{"a":\'', /line 3 of the output of stage work is not JSON/],
        ['a line that is no object', 'echo 5', /line 1 .* is not an object: 5/],
        ['another type in a column', 'echo \'{"a":1}\'; echo \'{"a":"x"}\'', /line 2 .* has "x" as a, which was float64 before/],
      ])('with %s are refused, with the number of the line', async (_, shell, message) => {
        const ended = await run({ command: ['/bin/sh', '-c', `cat > /dev/null; ${shell}`], stdio: 'ndjson' });
        expect(ended).toMatchObject({
          outcome: 'failed',
          error: { code: 'PDL_STAGE_OUTPUT', message: expect.stringMatching(message) },
        });
        expect(agent.scratch.stream(agent.shardId, 'work')?.sealed ?? false).toBe(false);
      });

      it('of a program that broke off tell of the program, not of half a line', async () => {
        const ended = await run({ command: ['/bin/sh', '-c', 'printf \'{"a":\'; echo boom >&2; exit 4'], stdio: 'ndjson' });
        expect(ended.error).toMatchObject({
          code: 'PDL_STAGE_FAILED',
          message: expect.stringContaining('exit code 4'),
          logTail: 'boom',
        });
      });

      it('flow with back-pressure: more than any pipe holds goes through', async () => {
        const count = 40_000;
        await agent.table(
          'big',
          [{ name: 'n', type: 'int32', nullable: false }],
          [0, 1].map(() => ({ rows: count, columns: [{ name: 'n', data: column.int32(count).toData() }] })),
        );
        const shim = await agent.put(shimCommand, stageOf('work', { command: ['cat'], stdio: 'ndjson' }));
        expect(await agent.run(shim, 'work', { inputs: ['big'] })).toMatchObject({ outcome: 'committed', rows: 2 * count });
        expect(agent.scratch.blocks(agent.shardId, 'work').map((block) => block.rows)).toEqual([65_536, 2 * count - 65_536]);
      });
    });

    describe('files', () => {
      it('of any kind and name are taken in', async () => {
        const ended = await run({
          command: [
            '/bin/sh',
            '-c',
            'mkdir "$PODLINE_OUTPUT_DIR/sub"; echo a > "$PODLINE_OUTPUT_DIR/sub/a.txt"; : > "$PODLINE_OUTPUT_DIR/empty"',
          ],
          output: 'files',
        });
        expect(ended.outcome).toBe('committed');
        expect(agent.scratch.blocks(agent.shardId, 'work').map((block) => [block.file, block.payload?.length])).toEqual([
          ['empty', 0],
          ['sub/a.txt', 2],
        ]);
      });

      it('show a whole stream as the segment itself, and nothing of what only the shim may know', async () => {
        const seen = join(agent.dir, 'seen');
        await run({
          command: [
            '/bin/sh',
            '-c',
            `readlink "$PODLINE_INPUT_DIR/input.arrow" > ${seen}; env >> ${seen}; : > "$PODLINE_OUTPUT_DIR/out"`,
          ],
          output: 'bytes',
        });
        const text = await readFile(seen, 'utf8');
        const segment = agent.scratch.segments(agent.shardId).find(({ stream }) => stream === 'input');
        expect(text.split('\n')[0]).toBe(segment?.path);
        expect((await lstat(segment!.path)).isFile()).toBe(true);
        expect(text).not.toMatch(/PODLINE_(SOCKET|SCRATCH_DIR|TOKEN)/);
      });

      needs('python3+pyarrow').it('are Arrow that pyarrow maps, and what it writes is taken over without a copy', async () => {
        const program = join(agent.dir, 'program.py');
        await writeFile(
          program,
          `
import os, pyarrow as pa, pyarrow.compute as pc
source = pa.memory_map(os.path.join(os.environ['PODLINE_INPUT_DIR'], 'input.arrow'))
table = pa.ipc.open_stream(source).read_all()
assert pa.total_allocated_bytes() == 0, pa.total_allocated_bytes()
twice = table.append_column('twice', pc.multiply(table['n'], 2).cast('int32'))
with pa.OSFile(os.path.join(os.environ['PODLINE_OUTPUT_DIR'], 'out.arrow'), 'wb') as sink:
    with pa.ipc.new_file(sink, twice.schema) as writer:
        writer.write_table(twice.unify_dictionaries())
`,
        );
        const ended = await run({ command: [python, program] });
        expect(ended.error).toBeUndefined();
        expect(rows().map((row) => [row['n'], row['word'], row['twice'], row['id']])).toEqual([
          [0, 'w0', 0, 7n],
          [1, null, 2, 1152921504606846976n],
          [2, 'w2', 4, 7n],
          [3, null, 6, 1152921504606846976n],
        ]);
      });
    });
  });
}
