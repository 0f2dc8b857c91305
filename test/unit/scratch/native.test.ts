import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { crc32 as zlibCrc32 } from 'node:zlib';
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

  it('maps a file, sees what is appended, and reaches nothing of it when unmapped', () => {
    const { path, fd } = fileOf(Buffer.from('abc'));
    const buffer = native.map(fd, 0, 8192);
    const view = new Uint8Array(buffer);
    writeFileSync(path, 'def', { flag: 'a' });
    expect(Buffer.from(view.subarray(0, 6)).toString()).toBe('abcdef');
    native.advise(buffer, 0, 8192, 3);
    expect(native.unmap(buffer)).toBe(true);
    expect(native.unmap(buffer)).toBe(false);
    expect(view.every((byte) => byte === 0)).toBe(true);
    view.fill(9);
    expect(readFileSync(path, 'utf8')).toBe('abcdef');
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

  it('computes the checksum of zlib, by the instructions of the processor and by tables', () => {
    const bytes = Buffer.from(Array.from({ length: 5_000 }, (_, index) => (index * 2_654_435_761) >>> 13));
    for (const from of [0, 1, 7, 15]) {
      for (const length of [0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 79, 80, 127, 128, 129, 191, 1_000, 4_096, 4_321]) {
        const piece = bytes.subarray(from, from + length);
        for (const before of [0, 0xffffffff, 0x12345678]) {
          const expected = zlibCrc32(piece, before);
          expect([native.crc32(piece, before), native.crc32Portable(piece, before)]).toEqual([expected, expected]);
        }
      }
    }
    expect(native.crc32(new Uint8Array(bytes.buffer, bytes.byteOffset, 3))).toBe(zlibCrc32(bytes.subarray(0, 3)));
    expect(() => native.crc32('text' as never)).toThrow(TypeError);
    expect(() => native.crc32(new Float64Array(2) as never)).toThrow(TypeError);
  });

  it('gives out exactly the bytes of a file that were asked for, to be written', () => {
    const { path, fd } = fileOf(Buffer.alloc(5_000, 1));
    native.reserve(fd, 4_000, 3_000);
    const buffer = native.mapOutput(fd, 5_000, 2_000);
    expect(buffer.byteLength).toBe(2_000);
    new Uint8Array(buffer).fill(7);
    const content = readFileSync(path);
    expect([content.length, content[4_999], content[5_000], content[6_999]]).toEqual([7_000, 1, 7, 7]);
    const view = new Uint8Array(buffer);
    expect(native.unmap(buffer)).toBe(true);
    expect(view.every((byte) => byte === 0)).toBe(true);
    view[0] = 9;
    expect(readFileSync(path)[5_000]).toBe(7);
    closeSync(fd);
  });

  it('costs no garbage collection, however much is mapped', async () => {
    const { fd } = fileOf(new Uint8Array(8 * 1024 * 1024));
    const collections: number[] = [];
    const observer = new PerformanceObserver((list) => {
      for (const { detail } of list.getEntries() as unknown as { detail: { kind: number } }[]) collections.push(detail.kind);
    });
    observer.observe({ entryTypes: ['gc'] });
    for (let map = 0; map < 200; map += 1) native.unmap(native.map(fd, 0, 8 * 1024 * 1024));
    // Entries come with a turn of the loop; those of this test alone.
    await new Promise((resolve) => setImmediate(resolve));
    observer.disconnect();
    closeSync(fd);
    expect(collections.filter((kind) => kind === constants.NODE_PERFORMANCE_GC_MAJOR)).toEqual([]);
  });

  it('takes a file for one opening of it, until its descriptor and maps are gone', () => {
    const { path, fd } = fileOf(Buffer.alloc(4_096));
    const other = openSync(path, 'r+');
    expect([native.take(fd), native.take(fd), native.take(other)]).toEqual([true, true, false]);
    const buffer = native.mapOutput(fd, 0, 4_096);
    closeSync(fd);
    expect(native.take(other)).toBe(false);
    native.unmap(buffer);
    expect(native.take(other)).toBe(true);
    closeSync(other);
  });

  it('takes files from buffers in worker threads as well, and survives threads that end with maps open', async () => {
    const { path } = fileOf(Buffer.from('mapped'));
    const prebuild = join(prebuilds, prebuildName(native));
    const script = `
      const { parentPort, workerData } = require('node:worker_threads');
      const { openSync, closeSync } = require('node:fs');
      const native = require(workerData.prebuild);
      const fd = openSync(workerData.path, 'r+');
      const views = [native.map(fd, 0, 6), native.mapOutput(fd, 0, 6)].map((buffer) => new Uint8Array(buffer));
      const before = views.map((view) => view[0]);
      for (const { buffer } of views) native.unmap(buffer);
      const after = views.map((view) => [view.length, view[0]]);
      native.map(fd, 0, 6); // left open
      closeSync(fd);
      parentPort.postMessage({ before, after });`;
    for (let turn = 0; turn < 3; turn += 1) {
      const worker = new Worker(script, { eval: true, workerData: { prebuild, path } });
      const ended = once(worker, 'exit');
      const [told] = (await once(worker, 'message')) as [unknown];
      expect(told).toEqual({
        before: [109, 109],
        after: [
          [6, 0],
          [6, 0],
        ],
      });
      expect(await ended).toEqual([0]);
    }
  });
});

/** The file that was loaded, among those for this machine. */
function prebuildName(native: NativeFunctions): string {
  const require = createRequire(import.meta.url);
  const names = ['glibc', 'musl'].map((libc) => `${process.platform}-${process.arch}-${libc}.node`);
  const name = names.find((candidate) => require.cache[join(prebuilds, candidate)]?.exports === native);
  return name ?? names[0] ?? '';
}
