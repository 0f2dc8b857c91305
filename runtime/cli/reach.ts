/** The coordinator of a work directory: the one that runs there, or, where none does, one without lines inside this process. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { PodlineClient } from '../api/client.js';
import { PodlineError } from '../contracts/errors.js';
import { addressFileName } from '../local/places.js';
import { createLogger } from '../telemetry/logger.js';
import { startEmbedded } from './embedded.js';
import { fromHere } from './hints.js';

export interface Reached {
  client: PodlineClient;
  /** Whether somebody works on what is changed here: otherwise it waits for the next `run --resume`. */
  running: boolean;
  close(): Promise<void>;
}

/** Throws PDL_USAGE. */
export function requireWorkDir(workDir: string): void {
  if (existsSync(join(workDir, 'journal', 'data.mdb'))) return;
  throw new PodlineError('PDL_USAGE', `${fromHere(workDir)} is no work directory of podline`, {
    hint: 'Name it with --work-dir; `podline run` makes .podline/<pipeline> where it was started.',
  });
}

/** Throws PDL_USAGE where the folder is no work directory. */
export async function reach(workDirGiven: string): Promise<Reached> {
  const workDir = resolve(workDirGiven);
  requireWorkDir(workDir);
  const address = await readFile(join(workDir, addressFileName), 'utf8').catch(() => undefined);
  if (address !== undefined) {
    const { url, token } = JSON.parse(address) as { url: string; token: string };
    const client = PodlineClient.connect(url, token);
    // The file of a killed coordinator is still there: whether one answers is what counts.
    if (await client.isAlive()) return { client, running: true, close: () => client.close() };
    await client.close();
  }
  const embedded = await startEmbedded({
    workDir,
    medium: 'Memory',
    logger: createLogger({ name: 'coordinator' }, { level: 'warn' }),
  });
  return { client: embedded.client, running: false, close: () => embedded.close({ keepScratch: true }) };
}
