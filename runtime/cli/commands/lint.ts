/** `podline lint`: faults of manifests, with place and hint, without running anything. */
import { lintManifest, readManifest } from '../../config/manifest.js';
import { placeOf } from '../../config/faults.js';
import { resolvePipeline } from '../../config/pipeline.js';
import { PodlineError } from '../../contracts/errors.js';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exitCodes, type RunIo } from '../io.js';

export async function lint(files: readonly string[], json: boolean, io: Pick<RunIo, 'out'>): Promise<number> {
  let errors = 0;
  const all: unknown[] = [];
  for (const file of files) {
    const faults = await lintManifest(file);
    errors += faults.filter((fault) => fault.severity === 'error').length;
    all.push(...faults);
    if (!json) {
      for (const fault of faults)
        io.out.write(
          `${placeOf(fault)} ${fault.severity}: ${fault.path === '' ? '' : `${fault.path}: `}${fault.message}\n  ${fault.hint}\n`,
        );
    }
    if (faults.some((fault) => fault.severity === 'error')) continue;
    const stageFaults = await lintStages(file);
    errors += stageFaults.length;
    all.push(...stageFaults.map((fault) => ({ file, severity: 'error', ...fault.toWire() })));
    if (json) continue;
    for (const { code, message, hint } of stageFaults) io.out.write(`${file} error: ${code} ${message}\n  ${hint}\n`);
    if (stageFaults.length === 0) io.out.write(`${file}: ${faults.length === 0 ? 'no faults' : 'no errors'}\n`);
  }
  if (json) io.out.write(`${JSON.stringify(all)}\n`);
  return errors > 0 ? exitCodes.usage : exitCodes.done;
}

/** Builds the stages and holds their columns against each other, in a folder that goes away. */
async function lintStages(file: string): Promise<PodlineError[]> {
  const stagesDir = await mkdtemp(join(tmpdir(), 'podline-lint-'));
  try {
    const { manifest, baseDir } = await readManifest(file);
    await resolvePipeline(manifest, { baseDir, stagesDir, revision: 0 });
    return [];
  } catch (thrown) {
    const faults = thrown instanceof PodlineError && thrown.cause instanceof AggregateError ? thrown.cause.errors : [thrown];
    return faults.map((fault) => PodlineError.from(fault, 'PDL_STAGE_LOAD'));
  } finally {
    await rm(stagesDir, { recursive: true, force: true });
  }
}
