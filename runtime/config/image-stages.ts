/**
 * Entry: says which stages this image carries for a pipeline, as JSON on stdout: `{ "stages": [{ name, uses, version, module, declares }] }`;
 * or, with exit code 1, `{ "error": … }`. For whoever has the image and not the sources.
 *
 * usage: node dist/runtime/config/image-stages.js PIPELINE
 */
import { PodlineError } from '../contracts/errors.js';
import { packageRoot } from '../platform/entries.js';
import { readStageIndex } from './stage-index.js';

const [pipeline] = process.argv.slice(2);
try {
  if (pipeline === undefined) throw new PodlineError('PDL_USAGE', 'the name of a pipeline is missing');
  process.stdout.write(`${JSON.stringify(await readStageIndex(packageRoot, pipeline))}\n`);
} catch (thrown) {
  process.stdout.write(`${JSON.stringify({ error: PodlineError.from(thrown).toWire() })}\n`);
  process.exitCode = 1;
}
