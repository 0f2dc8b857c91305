/** The static shim, built from its sources: the same bytes each time, so that whoever builds it at the same moment does no harm. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { packageRoot } from '../../runtime/platform/entries.js';

let built: string | undefined;

/** Path of the binary. To be called where `needs('go')` is met. */
export function staticShim(): string {
  if (built === undefined) {
    built = join(packageRoot, 'bin', 'podline-shim');
    execFileSync(join(packageRoot, 'sidecars', 'shim-static', 'build.sh'), [built], { stdio: ['ignore', 'ignore', 'inherit'] });
  }
  return built;
}
