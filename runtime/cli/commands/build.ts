/** `podline build`: the stages of a pipeline as an image carries them. */
import { resolve } from 'node:path';
import { buildStages } from '../../config/stage-index.js';
import { exitCodes, type RunIo } from '../io.js';

export async function build(file: string, options: { out: string; json: boolean }, io: Pick<RunIo, 'out'>): Promise<number> {
  const { folder, index } = await buildStages(file, resolve(options.out));
  if (options.json) {
    io.out.write(`${JSON.stringify({ folder, ...index })}\n`);
    return exitCodes.done;
  }
  for (const { name, uses, version } of index.stages) io.out.write(`${name}  ${uses}  ${version.slice(0, 12)}\n`);
  io.out.write(`${String(index.stages.length)} stages in ${folder}\n`);
  return exitCodes.done;
}
