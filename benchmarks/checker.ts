/**
 * Whether two runs gave the same result: by the files that they left, whatever the runner says.
 *
 * The hash is the one that Podline's own manifests carry: sha256 over the lines `<sha256>  <name>`, in the order of names.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import type { ResultFile } from '../runtime/contracts/shard.js';
import { manifestFile } from '../runtime/results/names.js';
import { resultHash } from '../runtime/results/result-manifest.js';

/** Of all files under the folder, Podline's manifest aside. Throws when there are none. */
export async function hashOfFolder(folder: string): Promise<string> {
  const files: ResultFile[] = [];
  for (const found of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (!found.isFile()) continue;
    const path = join(found.parentPath, found.name);
    const name = relative(folder, path).split(sep).join('/');
    if (name === manifestFile) continue;
    const content = await readFile(path);
    files.push({ name, bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') });
  }
  if (files.length === 0) throw new Error(`${folder} holds no result`);
  return resultHash(files);
}
