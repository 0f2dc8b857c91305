/**
 * The native part, if there is one for this machine: memory maps as ArrayBuffers and the file calls that Node lacks.
 *
 * Owns: choosing and loading the prebuilt addon. Nothing needs it: `native.reason` says why it is absent, and reads
 * are then copies.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { env } from '../contracts/env.js';
import { packageRoot } from '../platform/entries.js';

export interface NativeFunctions {
  /** Private, writable map of [offset, offset + length) of an open file; `offset` is a multiple of the page size. Throws with `code`. */
  map(fd: number, offset: number, length: number): ArrayBuffer;
  /**
   * Takes the file from under the buffer: it holds zeros from now on, and what is written into it is seen by nobody. False when it is no live
   * mapping (any more). What is mapped does not count as memory that V8 collects.
   */
  unmap(buffer: ArrayBuffer): boolean;
  /** madvise: `advice` is Linux's number, e.g. 2 sequential, 3 will need, 4 do not need. */
  advise(buffer: ArrayBuffer, offset: number, length: number, advice: number): void;
  /** Copies between files inside the kernel where that is possible; fewer bytes only at the end of the source. Throws with `code`. */
  copyRange(fdIn: number, offsetIn: number, fdOut: number, offsetOut: number, length: number): number;
  /** Gives pages back; the size of the file stays. Throws with `code` where the file system cannot. */
  punchHole(fd: number, offset: number, length: number): void;
  /** Gives a stretch of a file memory or disk of its own, so that writing to it cannot fail for want of room. Throws with `code` (ENOSPC). */
  reserve(fd: number, offset: number, length: number): void;
  /**
   * Shared, writable map of exactly [offset, offset + length) of a file that is open for writing, to be reserved before; `unmap` it. The
   * buffer reaches no byte beside them.
   */
  mapOutput(fd: number, offset: number, length: number): ArrayBuffer;
  /** Takes the file for whoever has it open, until that descriptor and all maps made with it are gone; false when another has it. */
  take(fd: number): boolean;
  /** CRC-32 as zlib computes it, over `bytes`, going on from `value` (0). */
  readonly crc32: (bytes: Uint8Array, value?: number) => number;
  /** The same by tables alone, as on a processor without instructions for it. */
  readonly crc32Portable: (bytes: Uint8Array, value?: number) => number;
}

export type Native = { functions: NativeFunctions; reason?: undefined } | { functions?: undefined; reason: string };

let loaded: Native | undefined;

/** The native part, loaded once per thread, or the reason in words why there is none. Not influenced by PODLINE_MMAP. */
export function loadNative(): Native {
  loaded ??= load();
  return loaded;
}

/** How a scratch reads unless it is told: `mmap` where the native part loads and PODLINE_MMAP is not `off`; and why. */
export function defaultReads(): { reads: 'mmap' | 'pread'; reason: string } {
  if (process.env[env.mmap] === 'off') return { reads: 'pread', reason: `${env.mmap} is off` };
  const native = loadNative();
  return native.functions ? { reads: 'mmap', reason: 'the native part is loaded' } : { reads: 'pread', reason: native.reason };
}

function load(): Native {
  const require = createRequire(import.meta.url);
  const reasons: string[] = [];
  for (const libc of runsOnMusl() ? ['musl', 'glibc'] : ['glibc', 'musl']) {
    const name = `${process.platform}-${process.arch}-${libc}.node`;
    const path = join(packageRoot, 'native', 'prebuilds', name);
    if (!existsSync(path)) {
      reasons.push(`there is no prebuild ${name}`);
      continue;
    }
    try {
      const functions = require(path) as Partial<NativeFunctions>;
      if (functions.crc32) return { functions: functions as NativeFunctions };
      reasons.push(`${name} is of another version`);
    } catch (error) {
      reasons.push(`${name} does not load: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return { reason: reasons.join('; ') };
}

/** musl loads what was linked for glibc, too, and says nothing of it; its loader and its library are one file, with these names. */
function runsOnMusl(): boolean {
  try {
    return /\/ld-musl-[^/]+\.so|-linux-musl\/libc\.so/.test(readFileSync('/proc/self/maps', 'utf8'));
  } catch {
    return false;
  }
}
