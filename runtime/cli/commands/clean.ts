/** `podline clean`: gives up what a work directory holds: journal, checkpoints, logs and scratch. Results stay. */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { PodlineError } from '../../contracts/errors.js';
import { lockWorkdir } from '../../coordinator/workdir-lock.js';
import { layOut } from '../../local/places.js';
import { exitCodes, type RunIo } from './run.js';

export async function clean(workDir: string, io: Pick<RunIo, 'out'>): Promise<number> {
  const dir = resolve(workDir);
  if (!existsSync(join(dir, 'journal')))
    throw new PodlineError('PDL_USAGE', `${dir} is no work directory of podline`, { hint: 'Name it with --work-dir.' });
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
    io.out.write(`cleaned ${dir}\n`);
    return exitCodes.done;
  } finally {
    await lock.release();
  }
}
