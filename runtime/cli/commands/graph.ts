/** `podline graph`: the graph of a manifest as a file in which the compiler checks the columns between its stages. */
import { basename } from 'node:path';
import { graphFile } from '../../config/graph-file.js';
import { readManifest } from '../../config/manifest.js';
import { exitCodes, type RunIo } from '../io.js';

export async function graph(file: string, io: Pick<RunIo, 'out'>): Promise<number> {
  const { manifest } = await readManifest(file);
  io.out.write(graphFile(manifest, basename(file)));
  return exitCodes.done;
}
