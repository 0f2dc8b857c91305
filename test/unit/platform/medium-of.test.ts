import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { hasTmpfs, sharedMemory } from '../../../runtime/local/places.js';
import { packageRoot } from '../../../runtime/platform/entries.js';
import { mediumOf, mediumOfSync } from '../../../runtime/platform/medium-of.js';

function dirUnder(parent: string): string {
  const dir = mkdtempSync(join(parent, 'podline-medium-'));
  onTestFinished(() => {
    rmSync(dir, { recursive: true, force: true });
  });
  return dir;
}

it.runIf(hasTmpfs())('a file on tmpfs is memory, also by a link that lies on a disk', async () => {
  const file = join(dirUnder(sharedMemory), 'file');
  writeFileSync(file, 'x');
  const link = join(dirUnder(join(packageRoot, 'node_modules')), 'link');
  symlinkSync(file, link);
  expect([await mediumOf(file), await mediumOf(link), mediumOfSync(link)]).toEqual(['memory', 'memory', 'memory']);
});

it('a file of the package is on a disk, and so is what the system says nothing of', async () => {
  const file = join(packageRoot, 'package.json');
  expect([await mediumOf(file), mediumOfSync(file)]).toEqual(['ssd', 'ssd']);
  expect(await mediumOf(join(packageRoot, 'not there'))).toBe('ssd');
});
