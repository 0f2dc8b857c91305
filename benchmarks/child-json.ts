/** Runs an entry of the benchmark in a process of its own and gives what it prints, which is JSON. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { entryPath } from '../runtime/platform/entries.js';

export async function jsonOf<T>(entry: string, args: readonly (string | number)[], signal: AbortSignal): Promise<T> {
  const child = spawn(process.execPath, [entryPath(entry), ...args.map(String)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    signal,
  });
  let output = '';
  child.stdout.on('data', (piece: Buffer) => (output += piece.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${entry} ended with ${String(code)}`);
  return JSON.parse(output) as T;
}
