/** The prebuilds for other machines in a Node as they have it, where need be instruction by instruction (qemu), beside this machine's. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect } from 'vitest';
import { entryPath, packageRoot } from '../../../runtime/platform/entries.js';
import { armLibraries, armNode, muslNode, needs } from '../../support/require.js';

const run = promisify(execFile);
const probe = join(packageRoot, 'test', 'support', 'prebuilds', 'probe.cjs');
const which = join(packageRoot, 'test', 'support', 'prebuilds', 'which.mjs');
const prebuild = (name: string): string => join(packageRoot, 'native', 'prebuilds', `linux-${name}.node`);
const armOnGlibc: [string, ...string[]] = ['qemu-aarch64-static', '-L', armLibraries, armNode];

let dir: string;
beforeEach(() => {
  dir = mkdtempSync('/dev/shm/podline-prebuilds-');
});
afterEach(() => {
  rmSync(dir, { recursive: true });
});

async function probed([program, ...args]: [string, ...string[]], name: string): Promise<unknown> {
  const { stdout } = await run(program, [...args, probe, prebuild(name), join(dir, 'file')]);
  return JSON.parse(stdout);
}
const here = (): Promise<unknown> => probed([process.execPath], `${process.arch}-glibc`);

needs('node-arm64', 'tmpfs').it('do on arm64 what they do here', async () => {
  expect(await probed(armOnGlibc, 'arm64-glibc')).toEqual({ ...((await here()) as object), arch: 'arm64' });
});

for (const arch of ['x64', 'arm64'] as const) {
  needs('node-musl', 'tmpfs').it(`do on musl, ${arch}, what they do here`, async () => {
    expect(await probed(muslNode(arch), `${arch}-musl`)).toEqual({ ...((await here()) as object), arch });
  });

  needs('node-musl').it(`are chosen by the libc that runs, ${arch}`, async () => {
    const [program, ...args] = muslNode(arch);
    const { stdout } = await run(program, [...args, which, entryPath('runtime/scratch/native')]);
    expect(stdout.trim()).toBe(`linux-${arch}-musl.node`);
  });
}
