/**
 * What a file lies on, asked of its file system.
 *
 * Only memory is told apart. A file system of a network (NFS, a claimed volume that a driver mounts) looks to its reader as a disk does, and counts as `ssd`;
 * `volume` is said only by who was configured with one: checkpoints.
 */
import { statfsSync, type StatsFs } from 'node:fs';
import { statfs } from 'node:fs/promises';

/** The magic numbers of tmpfs and ramfs in statfs(2), as `man 2 statfs` lists them. */
const memoryMagics: ReadonlySet<number> = new Set([0x01021994, 0x858458f6]);

// Systems differ in the sign of a type.
const isMemory = ({ type }: StatsFs): boolean => memoryMagics.has(type >>> 0);

/** Of a file or folder that is there, links followed; `ssd` where the system does not tell. */
export async function mediumOf(path: string): Promise<'memory' | 'ssd'> {
  try {
    return isMemory(await statfs(path)) ? 'memory' : 'ssd';
  } catch {
    return 'ssd';
  }
}

/** The same, at once. */
export function mediumOfSync(path: string): 'memory' | 'ssd' {
  try {
    return isMemory(statfsSync(path)) ? 'memory' : 'ssd';
  } catch {
    return 'ssd';
  }
}
