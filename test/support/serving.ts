/** `runtime/serve/main.js` in a process of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { entryPath } from '../../runtime/platform/entries.js';
import { until } from './until.js';

export interface Served {
  dir: string;
  url: string;
  operator: string;
  log: () => string;
  /** SIGTERM unless another is named; its exit code. */
  stop: (signal?: NodeJS.Signals) => Promise<number | null>;
}

/** A coordinator of its own as a container runs it, until the test ends. It works in `podline` under `dir`. */
export async function serving(dir: string, config: string): Promise<Served> {
  writeFileSync(join(dir, 'server.yaml'), config);
  const addressFile = join(dir, 'podline', 'coordinator.json');
  const address = (): string => (existsSync(addressFile) ? readFileSync(addressFile, 'utf8') : '');
  // Of one that was killed.
  const stale = address();
  const child = spawn(process.execPath, [entryPath('runtime/serve/main')], {
    cwd: dir,
    env: { ...process.env, PODLINE_CONFIG: join(dir, 'server.yaml') },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text));
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const stop: Served['stop'] = async (signal = 'SIGTERM') => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    return (await exited)[0];
  };
  onTestFinished(async () => {
    await stop();
  }, 30_000);
  await until(() => !['', stale].includes(address()) || child.exitCode !== null);
  if (child.exitCode !== null) throw new Error(log);
  const { url, token } = JSON.parse(address()) as { url: string; token: string };
  return { dir, url, operator: token, log: () => log, stop };
}
