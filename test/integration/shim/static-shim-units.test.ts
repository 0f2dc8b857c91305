/** The static shim's own tests, in its own language, as tests of this suite. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'vitest';
import { packageRoot } from '../../../runtime/platform/entries.js';
import { missing, needs } from '../../support/require.js';

const cwd = join(packageRoot, 'sidecars', 'shim-static');
const go = (...args: string[]): string =>
  execFileSync('go', args, { cwd, encoding: 'utf8', env: { ...process.env, GOFLAGS: '-buildvcs=false', GOWORK: 'off' } });

needs('go').describe('the static shim, by its own tests', () => {
  const listed = missing('go') === undefined ? go('test', '-list', '.').match(/^(Test|Fuzz)\w+/gm) : [];
  for (const name of listed ?? []) {
    needs('go').it(name.replaceAll(/([a-z])([A-Z])/g, '$1 $2').toLowerCase(), () => {
      expect(go('test', '-run', `^${name}$`, '-count=1', '.')).toMatch(/^ok/m);
    });
  }

  needs('go').it('is formatted and vetted', () => {
    expect(execFileSync('gofmt', ['-l', '.'], { cwd, encoding: 'utf8' })).toBe('');
    go('vet', './...');
  });
});
