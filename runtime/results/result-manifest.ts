/** `manifest.json` of a delivered result: whose it is, what it was made from, and its files with their checksums. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline as pipe } from 'node:stream/promises';
import { z } from 'zod';
import { resultFileSchema, type ResultFile } from '../contracts/shard.js';
import { manifestFile } from './names.js';

export const resultManifestSchema = z.object({
  format: z.literal(1),
  pipeline: z.string(),
  revision: z.int(),
  shardId: z.string(),
  key: z.string(),
  epoch: z.int(),
  /** How tables were written. */
  tables: z.string(),
  /** Lineage digest of each stage that is part of the result. */
  lineages: z.record(z.string(), z.string()),
  files: z.array(resultFileSchema),
  hash: z.string(),
});
export type ResultManifest = z.infer<typeof resultManifestSchema>;

/** sha256 over the lines `<sha256>  <name>` of the files, in the order of their names: what `sha256sum` would print. */
export function resultHash(files: readonly ResultFile[]): string {
  const hash = createHash('sha256');
  for (const { sha256, name } of inOrderOfNames(files)) hash.update(`${sha256}  ${name}\n`, 'utf8');
  return hash.digest('hex');
}

export const inOrderOfNames = (files: readonly ResultFile[]): ResultFile[] =>
  [...files].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));

/** Undefined when the folder is not one of ours: no manifest, or none that can be read. */
export async function readResultManifest(folder: string): Promise<ResultManifest | undefined> {
  try {
    return resultManifestSchema.safeParse(JSON.parse(await readFile(join(folder, manifestFile), 'utf8'))).data;
  } catch {
    return undefined;
  }
}

/** The first file that is not as the manifest says, in words. */
export async function findFault(folder: string, manifest: ResultManifest): Promise<string | undefined> {
  if (resultHash(manifest.files) !== manifest.hash) return 'its list of files has been changed';
  for (const file of manifest.files) {
    try {
      const hash = createHash('sha256');
      await pipe(createReadStream(join(folder, file.name)), hash);
      if (hash.digest('hex') !== file.sha256) return `${file.name} does not match its checksum`;
    } catch (error) {
      return `${file.name} cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  return undefined;
}
