/** kill -9 of a line that writes checkpoints, at random moments. The number of kills is PODLINE_KILLS, the seed PODLINE_SEED. */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openCheckpoints } from '../../../runtime/checkpoints/checkpoints.js';
import { recover } from '../../../runtime/checkpoints/recovery.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { openScratch } from '../../../runtime/scratch/scratch.js';

const kills = Number(process.env['PODLINE_KILLS'] ?? 12);
const seed = Number(process.env['PODLINE_SEED'] ?? Date.now() % 1_000_000);
const child = fileURLToPath(new URL('./writing-child.mjs', import.meta.url));
const blocks = 1_000_000;

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'podline-killed-'));
  await mkdir(join(root, 'ssd'));
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

/** mulberry32 */
function randomFrom(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Starts a line, lets it write some checkpoints, kills it within the next one. */
async function runAndKill(epoch: number, writes: number, afterMs: number): Promise<{ had: number; acknowledged: number }> {
  const line = spawn(process.execPath, [child, root, String(epoch), String(blocks)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const gone = new Promise<NodeJS.Signals | null>((resolve) => line.once('exit', (_code, signal) => resolve(signal)));
  let had = -1;
  let acknowledged = 0;
  let seen = 0;
  for await (const text of createInterface({ input: line.stdout })) {
    const [word, number] = text.split(' ');
    if (word === 'has') had = Number(number);
    if (word === 'wrote') {
      acknowledged = Number(number);
      seen += 1;
    }
    if (word === (writes === 0 ? 'has' : 'wrote') && seen === writes) setTimeout(() => line.kill('SIGKILL'), afterMs);
  }
  expect(await gone).toBe('SIGKILL');
  return { had, acknowledged: Math.max(had, acknowledged) };
}

it(`never takes a torn checkpoint for a whole one and loses none that was acknowledged (seed ${String(seed)})`, async () => {
  const random = randomFrom(seed);
  let acknowledged = 0;
  for (let epoch = 1; epoch <= kills; epoch += 1) {
    const line = await runAndKill(epoch, Math.floor(random() * 5), random() * 30);
    expect(line.had, `epoch ${String(epoch)} resumes where the one before was acknowledged, or farther`).toBeGreaterThanOrEqual(
      acknowledged,
    );
    acknowledged = line.acknowledged;
  }

  const epoch = kills + 1;
  const scratch = await openScratch({
    dir: join(root, 'last'),
    spillDir: join(root, 'last-spill'),
    sizeBytesMax: 2 ** 30,
    medium: 'memory',
    role: 'owner',
  });
  const checkpoints = openCheckpoints({ ssdDir: join(root, 'ssd'), logger: silentLogger, nowMs: () => performance.now() });
  try {
    await scratch.putShard({ shardId: 'shard-1', epoch, revision: 1 });
    const lineage = { digest: 'd', stage: 'out', version: 'v', parameters: 'p', inputs: {} };
    const recovery = await recover({
      shardId: 'shard-1',
      epoch,
      pipeline: 'p',
      stages: [{ name: 'out', after: [] }],
      results: ['out'],
      lineages: new Map([['out', lineage]]),
      scratch,
      checkpoints,
      logger: silentLogger,
      nowMs: () => performance.now(),
    });
    expect(recovery.refused).toEqual([]);
    await scratch.verifyStream('shard-1', 'out');
    const found = scratch.blocks('shard-1', 'out');
    expect(found.length).toBe(scratch.progress('shard-1', 'out')?.consumed ?? 0);
    expect(found.length).toBeGreaterThanOrEqual(acknowledged);
    const reader = scratch.openReader('shard-1');
    let next = 0;
    for (const block of found) {
      const values = reader.table(block).get('n')?.values as Float64Array;
      expect(values[0]).toBe(next);
      expect(values.at(-1)).toBe(next + block.rows - 1);
      next += block.rows;
    }
    reader.close();
  } finally {
    await checkpoints.close();
    await scratch.close();
  }
});
