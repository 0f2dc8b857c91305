/** What the machine can do at most, measured beside the rest: nothing that moves data is faster than these. */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';

/** Bytes per second. */
export interface MachineLimits {
  memcpy: number;
  tmpfsWrite: number;
  tmpfsRead: number;
  diskWriteSync: number;
}

const totalBytes = 256 * 1024 * 1024;
const pieceBytes = 4 * 1024 * 1024;
const pieces = totalBytes / pieceBytes;

/** `diskDir`: a folder on the disk that holds work directories and results. Without /dev/shm its figures are NaN. */
export function measureLimits(diskDir: string): MachineLimits {
  const from = Buffer.alloc(pieceBytes, 7);
  const to = Buffer.alloc(pieceBytes);
  const memcpy = speedOf(() => {
    for (let i = 0; i < pieces; i++) from.copy(to);
  });
  const disk = onFile(diskDir, from, true);
  const tmpfs = existsSync('/dev/shm') ? onFile('/dev/shm', from, false) : { write: Number.NaN, read: Number.NaN };
  return { memcpy, tmpfsWrite: tmpfs.write, tmpfsRead: tmpfs.read, diskWriteSync: disk.write };
}

function onFile(dir: string, piece: Buffer, sync: boolean): { write: number; read: number } {
  mkdirSync(dir, { recursive: true });
  const path = join(dir, `podline-bench-${process.pid}`);
  const file = openSync(path, 'w+');
  try {
    const write = speedOf(() => {
      for (let i = 0; i < pieces; i++) writeSync(file, piece, 0, piece.length, i * pieceBytes);
      if (sync) fsyncSync(file);
    });
    const into = Buffer.alloc(pieceBytes);
    const read = speedOf(() => {
      for (let i = 0; i < pieces; i++) readSync(file, into, 0, into.length, i * pieceBytes);
    });
    return { write, read };
  } finally {
    closeSync(file);
    rmSync(path);
  }
}

function speedOf(move: () => void): number {
  const beganMs = performance.now();
  move();
  return totalBytes / ((performance.now() - beganMs) / 1000);
}
