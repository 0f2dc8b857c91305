import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { packageRoot } from '../../../runtime/platform/entries.js';
import { defaultReads, loadNative, type NativeFunctions } from '../../../runtime/scratch/native.js';
import { makeScratch, memoryDir } from './helpers.js';

const prebuilds = join(packageRoot, 'native', 'prebuilds');
const { functions } = loadNative();

afterEach(() => {
  vi.unstubAllEnvs();
});

it('has prebuilds of the source as it is', () => {
  const source = createHash('sha256')
    .update(readFileSync(join(packageRoot, 'native', 'podline_native.c')))
    .digest('hex');
  expect(readFileSync(join(prebuilds, 'SOURCE.sha256'), 'utf8').trim(), 'run native/build.sh').toBe(source);
  for (const arch of ['x64', 'arm64']) {
    for (const libc of ['glibc', 'musl']) expect(existsSync(join(prebuilds, `linux-${arch}-${libc}.node`))).toBe(true);
  }
});

it('reads by pread when PODLINE_MMAP is off', async () => {
  vi.stubEnv('PODLINE_MMAP', 'off');
  expect(defaultReads()).toEqual({ reads: 'pread', reason: 'PODLINE_MMAP is off' });
  expect((await makeScratch()).reads).toBe('pread');
});

it('loads, or says why not', () => {
  expect(functions === undefined ? loadNative().reason : 'it loads').toMatch(/no prebuild|does not load|it loads/);
});

describe.runIf(functions !== undefined)('the native part', () => {
  const native = functions as NativeFunctions;
  function fileOf(content: Uint8Array): { path: string; fd: number } {
    const path = join(memoryDir(), 'file');
    writeFileSync(path, content);
    return { path, fd: openSync(path, 'r+') };
  }

  it('maps a file, sees what is appended, and detaches when unmapped', () => {
    const { path, fd } = fileOf(Buffer.from('abc'));
    const buffer = native.map(fd, 0, 8192);
    const view = new Uint8Array(buffer);
    writeFileSync(path, 'def', { flag: 'a' });
    expect(Buffer.from(view.subarray(0, 6)).toString()).toBe('abcdef');
    native.advise(buffer, 0, 8192, 3);
    expect(native.unmap(buffer)).toBe(true);
    expect(native.unmap(buffer)).toBe(false);
    expect([view.length, buffer.byteLength]).toEqual([0, 0]);
    expect(() => new Uint8Array(buffer)).toThrow(TypeError);
    closeSync(fd);
  });

  it('does not unmap what it has not mapped', () => {
    const own = new ArrayBuffer(16);
    expect(native.unmap(own)).toBe(false);
    expect(own.byteLength).toBe(16);
    expect(() => native.unmap('no buffer' as never)).toThrow(TypeError);
  });

  it('tells what the system refuses by its code', () => {
    expect(() => native.map(9_999, 0, 4096)).toThrow(expect.objectContaining({ code: 'EBADF' }));
    expect(() => native.map(-1, 0, 4096)).toThrow(TypeError);
  });

  it('copies a stretch of a file, up to its end', () => {
    const content = Buffer.from(Array.from({ length: 3_000_000 }, (_, index) => index % 251));
    const from = fileOf(content);
    const to = fileOf(Buffer.from('before'));
    expect(native.copyRange(from.fd, 1_000, to.fd, 6, 2_000_000)).toBe(2_000_000);
    expect(native.copyRange(from.fd, 2_999_990, to.fd, 2_000_006, 100)).toBe(10);
    const copied = readFileSync(to.path);
    expect(copied.equals(Buffer.concat([Buffer.from('before'), content.subarray(1_000, 2_001_000), content.subarray(-10)]))).toBe(
      true,
    );
    expect(() => native.copyRange(from.fd, 0, 9_999, 0, 10)).toThrow(expect.objectContaining({ code: 'EBADF' }));
  });

  it('gives pages back and keeps the size', () => {
    const { path, fd } = fileOf(Buffer.alloc(64 * 1024, 1));
    try {
      native.punchHole(fd, 16_384, 32_768);
    } catch (error) {
      expect(error).toMatchObject({ code: 'EOPNOTSUPP' });
      return;
    }
    expect(statSync(path).size).toBe(64 * 1024);
    const content = readFileSync(path);
    expect([content[16_383], content[16_384], content[49_151], content[49_152]]).toEqual([1, 0, 0, 1]);
  });
});
