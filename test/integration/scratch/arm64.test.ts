/** The prebuild for arm64 in a Node for arm64, instruction by instruction (qemu), beside this machine's in this Node. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect } from 'vitest';
import { packageRoot } from '../../../runtime/platform/entries.js';
import { armLibraries, armNode, needs } from '../../support/require.js';

const run = promisify(execFile);
const probe = join(packageRoot, 'test', 'support', 'arm64', 'probe.cjs');
const prebuild = (name: string): string => join(packageRoot, 'native', 'prebuilds', `linux-${name}-glibc.node`);

let dir: string;
beforeEach(() => {
  dir = mkdtempSync('/dev/shm/podline-arm64-');
});
afterEach(() => {
  rmSync(dir, { recursive: true });
});

async function probed(program: string, ...args: string[]): Promise<unknown> {
  const { stdout } = await run(program, [...args, join(dir, 'file')]);
  return JSON.parse(stdout);
}

needs('node-arm64', 'tmpfs').it('does on arm64 what it does here', async () => {
  const here = await probed(process.execPath, probe, prebuild(process.arch));
  const there = await probed('qemu-aarch64-static', '-L', armLibraries, armNode, probe, prebuild('arm64'));
  expect(there).toEqual({ ...(here as object), arch: 'arm64' });
});
