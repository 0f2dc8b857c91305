/**
 * Where everything of a local run lies.
 *
 * The work directory holds what must outlive the processes; the scratch of each line lies on tmpfs, in a folder named
 * by a hash of the work directory, so that a run that is resumed finds it again and two work directories never share one.
 */
import { createHash } from 'node:crypto';
import { accessSync, constants, mkdirSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { mediumOfSync } from '../platform/medium-of.js';

export interface Places {
  workDir: string;
  journalDir: string;
  stagesDir: string;
  ssdDir: string;
  volumeDir: string;
  logsDir: string;
  /** Address and token of the coordinator that works here, while it does. */
  addressFile: string;
  /** Pids of the lines' processes, while they run. */
  processesFile: string;
  /** Folder of all lines' scratches. */
  scratchRoot: string;
  scratchMedium: 'memory' | 'ssd';
  /** Folder of the agents' sockets: short, because a socket's path may have 107 bytes at most. */
  socketsDir: string;
  /** In words, when something is other than a user would expect. */
  warnings: string[];
}

/** In the work directory, while a coordinator works there; left behind by one that was killed. */
export const addressFileName = 'coordinator.json';

/** Where a machine lends shared memory. */
export const sharedMemory = '/dev/shm';

/** True when the machine lends shared memory as a folder. */
export function hasTmpfs(): boolean {
  try {
    accessSync(sharedMemory, constants.W_OK);
    return mediumOfSync(sharedMemory) === 'memory';
  } catch {
    return false;
  }
}

/** Makes the work directory and says where all else lies. `Memory` falls back to a plain folder, with a warning. */
export function layOut(workDirGiven: string, medium: 'Memory' | 'SSD'): Places {
  mkdirSync(resolve(workDirGiven), { recursive: true });
  const workDir = realpathSync(resolve(workDirGiven));
  const name = `podline-${createHash('sha256').update(workDir).digest('hex').slice(0, 12)}`;
  const warnings: string[] = [];
  let scratchRoot = join(sharedMemory, name);
  let scratchMedium: Places['scratchMedium'] = 'memory';
  if (medium === 'SSD') {
    scratchRoot = join(workDir, 'scratch');
    scratchMedium = 'ssd';
  } else if (!hasTmpfs()) {
    scratchRoot = join(workDir, 'scratch');
    warnings.push(`there is no tmpfs at ${sharedMemory}: the scratch is a plain folder, ${scratchRoot}, and slower than memory`);
  }
  const places: Places = {
    workDir,
    journalDir: join(workDir, 'journal'),
    stagesDir: join(workDir, 'stages'),
    ssdDir: join(workDir, 'ssd'),
    volumeDir: join(workDir, 'volume'),
    logsDir: join(workDir, 'logs'),
    addressFile: join(workDir, addressFileName),
    processesFile: join(workDir, 'processes.json'),
    scratchRoot,
    scratchMedium,
    socketsDir: join(tmpdir(), name),
    warnings,
  };
  for (const dir of [places.journalDir, places.stagesDir, places.ssdDir, places.volumeDir, places.logsDir])
    mkdirSync(dir, { recursive: true });
  // Data of a shard and tokens are nobody else's business.
  for (const dir of [places.scratchRoot, places.socketsDir]) mkdirSync(dir, { recursive: true, mode: 0o700 });
  return places;
}
