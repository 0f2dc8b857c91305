/** Commands and paths that a person can copy from the terminal: they work from where that person stands. */
import { existsSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { entryPath, packageRoot } from '../platform/entries.js';

/** The shorter of the path from here and the whole path. */
export function fromHere(path: string, cwd = process.cwd()): string {
  const near = relative(cwd, path);
  if (near === '') return '.';
  return near.length < path.length ? near : path;
}

/** `npx podline get 1 --work-dir .podline/flights`, or by the path of this program where npx would not find it. */
export function command(...words: readonly string[]): string {
  return [...program(), ...words].map(quoted).join(' ');
}

function program(cwd = process.cwd()): string[] {
  for (let dir = cwd; ; dir = dirname(dir)) {
    if (dir === packageRoot || existsSync(join(dir, 'node_modules', '.bin', 'podline'))) return ['npx', 'podline'];
    if (dirname(dir) === dir) return ['node', fromHere(entryPath('runtime/cli/main'), cwd)];
  }
}

const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
