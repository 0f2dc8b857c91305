/** `podline clean`: gives up what a work directory holds: journal, checkpoints, logs and scratch. Results stay. */
import { rm, rmdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { lockWorkdir } from '../../coordinator/workdir-lock.js';
import { layOut } from '../../local/places.js';
import { fromHere } from '../hints.js';
import { requireWorkDir } from '../reach.js';
import { exitCodes, type RunIo } from '../io.js';

export async function clean(workDir: string, io: Pick<RunIo, 'out'>): Promise<number> {
  const dir = resolve(workDir);
  requireWorkDir(dir);
  const places = layOut(dir, 'Memory');
  const lock = await lockWorkdir(places.workDir);
  try {
    const ours = [
      places.journalDir,
      places.stagesDir,
      places.ssdDir,
      places.volumeDir,
      places.logsDir,
      places.addressFile,
      places.processesFile,
      places.scratchRoot,
      places.socketsDir,
      join(dir, 'scratch'),
    ];
    await Promise.all(ours.map((path) => rm(path, { recursive: true, force: true })));
    // What else lies there is somebody else's.
    await rmdir(dir).catch(() => undefined);
    io.out.write(`cleaned ${fromHere(dir)}\n`);
    return exitCodes.done;
  } finally {
    await lock.release();
  }
}
