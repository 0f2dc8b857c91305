/** What is left of a command when its shim is killed at the worst moment: nothing. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { entryPath } from '../../../runtime/platform/entries.js';

/** Starts a program as a shim does, tells the guard what the test names, says the pid, and is killed. */
const starter = (told: string): string => `
  import { spawn } from 'node:child_process';
  import { writeSync } from 'node:fs';
  import { Guard } from ${JSON.stringify(pathToFileURL(entryPath('runtime/stages/guard')).href)};
  const guard = new Guard();
  guard.start();
  guard.watch('start');
  const child = spawn('sleep', ['1000'], { detached: true, stdio: 'ignore', env: { ...process.env, ...guard.environment } });
  ${told};
  writeSync(1, String(child.pid));
  process.kill(process.pid, 'SIGKILL');
`;

async function left(told: string): Promise<number> {
  const shim = spawn(process.execPath, ['--input-type=module', '-e', starter(told)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  shim.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  expect(await once(shim, 'close')).toEqual([null, 'SIGKILL']);
  return Number(said);
}

async function isAtWork(pid: number): Promise<boolean> {
  const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  return state !== undefined && !/\) [ZX]/.test(state);
}

it.each([
  ['after its guard was told of the program', 'guard.watch(child.pid)'],
  ['between the start of the program and the word to its guard', ''],
])('a shim that is killed %s leaves nothing', async (_, told) => {
  const pid = await left(told);
  expect(pid).toBeGreaterThan(1);
  await expect.poll(() => isAtWork(pid), { timeout: 60_000, interval: 20 }).toBe(false);
});
