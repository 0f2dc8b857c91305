/** A stage's threads at the moment of a cancel; what a slot makes of them: `node-stages.test.ts`. */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { column } from '../../../runtime/index.js';
import { entryPath } from '../../../runtime/platform/entries.js';
import { readingOf } from '../../../runtime/stages/run-input.js';
import { ThreadPool } from '../../../runtime/stages/threads.js';
import { FakeAgent, stageOf } from '../../support/shim-agent.js';

let agent: FakeAgent;
beforeEach(async () => {
  agent = await FakeAgent.start();
});
afterEach(async () => {
  await agent.close();
});

describe('a thread whose run is cancelled', () => {
  it('calls the stage for no further block, though nobody has told the ring yet', async () => {
    const sign = (name: string): string => join(agent.dir, name);
    // What it does at the cancel lets every promise that was rejected be heard before it signs.
    const source = `
      import { writeFileSync } from 'node:fs';
      import { defineStage } from ${JSON.stringify(pathToFileURL(entryPath('runtime/index')).href)};
      export default defineStage({
        block: (batch, ctx) => {
          if (batch.index > 0) writeFileSync(${JSON.stringify(sign('called-too-late'))}, '');
          ctx.progress('in it');
          return new Promise((_, reject) => ctx.signal.addEventListener('abort', () => {
            reject(new Error('let go'));
            setImmediate(() => writeFileSync(${JSON.stringify(sign('let-go'))}, ''));
          }));
        },
      });`;
    await writeFile(sign('work.mjs'), source);
    const stage = stageOf('work', { module: 'work.mjs' });
    const rows = { rows: 1, columns: [{ name: 'n', data: column.int32.from([1]).toData() }] };
    await agent.table('input', [{ name: 'n', type: 'int32', nullable: false }], [rows, rows]);

    const { runId, epoch, shardId, shardKey, parameters, inputs, growing, lineage } = await agent.request('work');
    const output = { shardId, stream: 'work', kind: 'table' as const, schema: [], lineage, run: { runId, epoch } };
    const plan = { runId, shardId, shardKey, parameters, inputs, growing, lineage, combine: stage.combine, output };
    const { scratch, dir, sizeBytesMax } = agent;
    const options = { dir: sign('scratch'), spillDir: sign('spill'), sizeBytesMax, medium: 'memory', role: 'stage' } as const;
    const pool = new ThreadPool({ stage, stagesDir: dir, scratch: options, size: 1, heapBytesMax: undefined });
    const cancel = new AbortController();
    const isCalled = new Promise<void>((resolve) => {
      void pool
        .begin({
          ...{ plan, from: 0, signal: cancel.signal, isFollowed: () => false, isHeld: false },
          open: () => Promise.resolve(),
          voice: { log: () => undefined, note: () => resolve() },
          room: () => Promise.resolve('none'),
          reading: readingOf(scratch, plan, plan.combine, 'work'),
        })
        .then(() => pool.grow(2, true));
    });
    await isCalled;
    cancel.abort();
    // This thread is held up here, as by a busy machine, before it can end the run.
    while (!existsSync(sign('let-go')));
    await pool.end();
    expect(existsSync(sign('called-too-late'))).toBe(false);
    await pool.close();
  });
});
