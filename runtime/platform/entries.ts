/**
 * Where the entry points of threads and processes lie: always the built file under `dist/`, also when the
 * caller runs from TypeScript (under vitest), because a `.ts` entry cannot start a thread or process on Node 20.
 */
import { existsSync } from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
/** The root of the package: the folder that holds `dist/`. */
export const packageRoot = here.split(sep).includes('dist') ? resolve(here, '..', '..', '..') : resolve(here, '..', '..');

/** Absolute path of a built entry, e.g. `entryPath('sidecars/agent/main')`. */
export function entryPath(entry: string): string {
  const path = join(packageRoot, 'dist', `${entry}.js`);
  if (!existsSync(path)) throw new Error(`${path} is not there: run \`npm run build\` first`);
  return path;
}

/** Absolute path of the static shim, where it was built. */
export function staticShimPath(): string {
  const path = join(packageRoot, 'bin', 'podline-shim');
  if (!existsSync(path)) throw new Error(`${path} is not there: run \`sidecars/shim-static/build.sh\` first`);
  return path;
}
