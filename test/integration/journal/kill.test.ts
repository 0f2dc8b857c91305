import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openLmdbJournal } from '../../../runtime/journal/lmdb/lmdb-journal.js';
import { lockWorkdir } from '../../../runtime/coordinator/workdir-lock.js';
import { entryPath, packageRoot } from '../../../runtime/platform/entries.js';
import { folder } from '../../support/journal.js';

/** How often the writer is killed; more with PODLINE_KILL_TRIALS. */
const trials = Number(process.env['PODLINE_KILL_TRIALS'] ?? 12);

/** A small generator of its own, so that a failing run can be had again: mulberry32. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe('a journal whose process is killed', () => {
  it('has everything that was acknowledged, and completes nothing twice', async () => {
    const dir = folder();
    const random = seeded(20_240_611);
    const submitted = new Map<string, string>();
    const leased = new Map<string, number>();
    const completed = new Map<string, number>();
    for (let trial = 0; trial < trials; trial += 1) {
      const writer = spawn(
        process.execPath,
        [join(packageRoot, 'test/integration/journal/writer.mjs'), packageRoot, dir, `w${String(trial)}`],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      const ended = once(writer, 'exit');
      const killAfter = 1 + Math.floor(random() * 600);
      let heard = 0;
      let ready = false;
      for await (const line of createInterface({ input: writer.stdout })) {
        const [what, first = '', second = ''] = line.split(' ');
        if (what === 'ready') ready = true;
        else if (what === 'submitted') submitted.set(first, second);
        else if (what === 'leased') {
          expect(Number(second)).toBeGreaterThan(leased.get(first) ?? 0);
          leased.set(first, Number(second));
        } else if (what === 'completed') {
          expect(completed.has(first)).toBe(false);
          completed.set(first, Number(second));
        }
        heard += 1;
        if (heard === killAfter) writer.kill('SIGKILL');
      }
      expect(await ended).toEqual([null, 'SIGKILL']);
      expect(ready || killAfter === 1).toBe(true);
    }

    const journal = openLmdbJournal({ dir });
    onTestFinished(() => journal.close());
    for (const [key, id] of submitted) expect((await journal.shardByKey('flights', key))?.id).toBe(id);
    for (const [id, epoch] of leased) expect((await journal.shard(id))?.epoch).toBeGreaterThanOrEqual(epoch);
    for (const [id, epoch] of completed) expect(await journal.shard(id)).toMatchObject({ state: 'completed', epoch });
    const completions = new Map<string, number>();
    let next = 1;
    for (let page = await journal.events(0, 1_000); page.length > 0; page = await journal.events(next - 1, 1_000)) {
      for (const event of page) {
        expect(event.id).toBe(next);
        next += 1;
        if (event.type === 'shard.completed' && event.shardId !== undefined)
          completions.set(event.shardId, (completions.get(event.shardId) ?? 0) + 1);
      }
    }
    expect([...completions.values()].every((times) => times === 1)).toBe(true);
    for (const id of completed.keys()) expect(completions.get(id)).toBe(1);
    const { pending, running, completed: done } = await journal.counts('flights');
    expect(done).toBe(completions.size);
    expect(pending + running + done).toBe((await journal.list({ pipeline: 'flights', max: 1_000_000 })).shards.length);
    expect(completed.size).toBeGreaterThan(trials);
    const hash = await journal.stateHash();
    await journal.close();
    const again = openLmdbJournal({ dir });
    onTestFinished(() => again.close());
    expect(await again.stateHash()).toBe(hash);
  });
});

describe('the lock of a work directory', () => {
  it('is held across processes, names the holder, and is free once the holder was killed', async () => {
    const dir = folder();
    const program = `const { lockWorkdir } = await import(${JSON.stringify(entryPath('runtime/coordinator/workdir-lock'))});
      await lockWorkdir(${JSON.stringify(dir)}); process.stdout.write('held\\n'); setInterval(() => {}, 1000);`;
    const holder = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(holder, 'exit');
    await once(holder.stdout, 'data');
    await expect(lockWorkdir(dir)).rejects.toMatchObject({
      code: 'PDL_WORKDIR_BUSY',
      message: expect.stringContaining(`process ${String(holder.pid)}`),
    });
    holder.kill('SIGKILL');
    await ended;
    await (await lockWorkdir(dir)).release();
  });
});
