/** Which commit is measured. */
import { execFileSync } from 'node:child_process';
import { packageRoot } from '../runtime/platform/entries.js';
import type { Commit } from './results.js';

const git = (...args: string[]): string =>
  execFileSync('git', args, { cwd: packageRoot, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();

/** Undefined where there is no git, or no repository (a package that was installed). */
export function commitOf(): Commit | undefined {
  try {
    // What a record itself writes does not make the code another.
    const changed = git(
      'status',
      '--porcelain',
      '--',
      '.',
      ':!benchmarks/RESULTS.md',
      ':!benchmarks/results.json',
      ':!benchmarks/pictures',
    );
    return { id: git('rev-parse', 'HEAD'), isDirty: changed !== '' };
  } catch {
    return undefined;
  }
}
