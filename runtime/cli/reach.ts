/** The coordinator of a work directory: the one that runs there, or, where none does, one without lines inside this process. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { PodlineClient } from '../api/client.js';
import { PodlineError } from '../contracts/errors.js';
import { addressFileName } from '../local/places.js';
import { createLogger } from '../telemetry/logger.js';
import { startEmbedded } from './embedded.js';

export interface Reached {
  client: PodlineClient;
  /** Whether somebody works on what is changed here: otherwise it waits for the next `run --resume`. */
  running: boolean;
  close(): Promise<void>;
}

export async function reach(workDirGiven: string): Promise<Reached> {
  const workDir = resolve(workDirGiven);
  if (!existsSync(join(workDir, 'journal'))) {
    throw new PodlineError('PDL_USAGE', `${workDir} is no work directory of podline`, {
      hint: 'Name it with --work-dir; `podline run` makes .podline/<pipeline> where it was started.',
    });
  }
  const address = await readFile(join(workDir, addressFileName), 'utf8').catch(() => undefined);
  if (address !== undefined) {
    const { url, token } = JSON.parse(address) as { url: string; token: string };
    const client = PodlineClient.connect(url, token);
    // The file of a killed coordinator is still there: whether one answers is what counts.
    if (await answers(client)) return { client, running: true, close: () => client.close() };
    await client.close();
  }
  const embedded = await startEmbedded({
    workDir,
    medium: 'Memory',
    logger: createLogger({ name: 'coordinator' }, { level: 'warn' }),
  });
  return { client: embedded.client, running: false, close: () => embedded.close({ keepScratch: true }) };
}

const answers = (client: PodlineClient): Promise<boolean> =>
  client.pipelines().then(
    () => true,
    () => false,
  );
