/** No server: a folder on the disk. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { StoreServer } from '../chain-runner.js';

export async function startFiles(dir: string): Promise<StoreServer> {
  const values = join(dir, 'values');
  return { store: { name: 'files', dir: values }, pids: () => [], close: () => rm(values, { recursive: true, force: true }) };
}
