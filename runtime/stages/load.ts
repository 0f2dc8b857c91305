/** Brings a stage's module into this thread. It stays loaded: the same file is imported once per thread. */
import { isAbsolute, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { PodlineError } from '../contracts/errors.js';
import type { ResolvedStage } from '../contracts/manifest.js';
import { asPodlineError, stackOf } from './failure.js';
import { isDefinedStage, type DefinedStage } from './define.js';

/** The part of a stage that a thread needs. */
export type StageModule = Pick<ResolvedStage, 'name' | 'module'>;

/** Throws PDL_STAGE_LOAD. */
export async function loadStage(stage: StageModule, stagesDir: string): Promise<DefinedStage> {
  const { name, module: file } = stage;
  if (file === undefined) throw new PodlineError('PDL_STAGE_LOAD', `stage ${name} has no module`, { place: name });
  const path = isAbsolute(file) ? file : resolve(stagesDir, file);
  let loaded: { default?: unknown };
  try {
    loaded = (await import(pathToFileURL(path).href)) as { default?: unknown };
  } catch (thrown) {
    const { message, hint } = asPodlineError(thrown, 'PDL_STAGE_LOAD');
    throw new PodlineError('PDL_STAGE_LOAD', `stage ${name} cannot be loaded from ${path}: ${message}`, {
      place: name,
      hint,
      cause: thrown,
      logTail: stackOf(thrown),
    });
  }
  if (!isDefinedStage(loaded.default))
    throw new PodlineError('PDL_STAGE_LOAD', `${path} does not export a stage by default`, { place: name });
  return loaded.default;
}
