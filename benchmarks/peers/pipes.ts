/** Pipes of the kernel between processes, made as named ones so that a process without native code can make them. */
import { execFile } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Missing } from '../runners/runner.js';

const run = promisify(execFile);

export interface Pipes {
  /** Standard input and output of each process of the chain, the source first. */
  stdio: (number | 'ignore')[][];
  /** Of this process's own ends, once the others have theirs. */
  close(): void;
}

/** As many pipes as hand-overs. Throws `Missing` where there is no mkfifo. */
export async function openPipes(count: number): Promise<Pipes> {
  const dir = await mkdtemp(join(tmpdir(), 'podline-pipes-'));
  try {
    const paths = Array.from({ length: count }, (_, index) => join(dir, String(index)));
    await run('mkfifo', paths).catch((thrown: unknown) => {
      throw new Missing(`there is no mkfifo (Debian: coreutils): ${String(thrown)}`);
    });
    // Both ends at once: neither would open without the other.
    const ends = paths.map((path) => {
      const both = openSync(path, constants.O_RDWR);
      const ends = { read: openSync(path, constants.O_RDONLY), write: openSync(path, constants.O_WRONLY) };
      closeSync(both);
      return ends;
    });
    return {
      stdio: Array.from({ length: count + 1 }, (_, at) => [ends[at - 1]?.read ?? 'ignore', ends[at]?.write ?? 'ignore']),
      close() {
        for (const { read, write } of ends) {
          closeSync(read);
          closeSync(write);
        }
      },
    };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
