import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openLmdbJournal } from '../../../runtime/journal/lmdb/lmdb-journal.js';
import { packageRoot } from '../../../runtime/platform/entries.js';
import { folder } from '../../support/journal.js';

interface Ended {
  code: number | null;
  keys: string[];
  errors: string;
}

const script = join(packageRoot, 'test/integration/journal/submitter.mjs');

/** `before`: what a shell does first. */
async function submitter(before: string, ...args: string[]): Promise<Ended> {
  const child = spawn('bash', ['-c', `${before} exec "$@"`, 'bash', process.execPath, script, packageRoot, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const ended = once(child, 'close');
  const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = (await ended) as [number | null];
  return { code, keys: out.split('\n').slice(0, -1), errors };
}

async function expectAll(dir: string, keys: readonly string[]): Promise<void> {
  const journal = openLmdbJournal({ dir });
  onTestFinished(() => journal.close());
  for (const key of keys) expect((await journal.shardByKey('flights', key))?.state).toBe('pending');
  // Also looks whether what shards are found under is what they are.
  const hash = await journal.stateHash();
  await journal.close();
  const again = openLmdbJournal({ dir });
  onTestFinished(() => again.close());
  expect(await again.stateHash()).toBe(hash);
}

describe('a process that ends while a thread of it settles its log', () => {
  it.each([
    ['exit', 3],
    ['end', 3],
    ['throw', 1],
  ])('by %s is gone at once, and its journal is whole', async (how, code) => {
    const dir = folder();
    const keys: string[] = [];
    // What is settled takes longer than the end does: each of these ends within it, or just before or behind it.
    for (const groups of [30, 33, 36, 39, 42, 45]) {
      const ended = await submitter('', dir, '300000', how, String(groups));
      expect(ended.code, ended.errors).toBe(code);
      keys.push(...ended.keys);
    }
    expect(keys).toHaveLength(22_500);
    await expectAll(dir, keys);
  });
});

describe('a journal whose disk is full', () => {
  // Files that may not grow stand for a disk without room: the write fails alike, and it needs no disk of its own.
  const limitKiB = 1_024;
  const limited = `trap '' XFSZ; ulimit -f ${String(limitKiB)};`;

  it.each([
    ['its log', '100000000'],
    ['LMDB', '30000'],
  ])(
    'in %s refuses what it cannot keep, keeps what it accepted, and goes on when there is room',
    async (_what, settleAtBytes) => {
      const dir = folder();
      const { code, keys, errors } = await submitter(limited, dir, settleAtBytes, 'exit', '1000');
      expect(code, errors).toBe(4);
      expect(errors).toMatch(/^PDL_JOURNAL /);
      expect(keys.length).toBeGreaterThan(1_000);
      const logs = readdirSync(dir).filter((name) => name.startsWith('log-'));
      for (const log of logs) expect(statSync(join(dir, log)).size).toBeLessThanOrEqual(limitKiB * 1_024);
      expect(existsSync(join(dir, 'data.mdb'))).toBe(true);
      await expectAll(dir, keys);
      const after = await submitter('', dir, settleAtBytes, 'exit', '3');
      expect(after.code, after.errors).toBe(3);
      await expectAll(dir, [...keys, ...after.keys]);
    },
  );
});
