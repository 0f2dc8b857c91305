/** What the code of a stage threw, as an error that names the stage and the place. */
import { errorCatalogue, PodlineError, type ErrorCode, type WireError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';

export function stageError(stage: string, thrown: unknown, where: string): PodlineError {
  const known = asPodlineError(thrown, 'PDL_STAGE_FAILED');
  if (known.code !== 'PDL_STAGE_FAILED' || known.place !== undefined) return known;
  return new PodlineError('PDL_STAGE_FAILED', `stage ${stage} failed in ${where}: ${known.message}`, {
    place: stage,
    cause: thrown,
    logTail: stackOf(thrown),
  });
}

/** Told by its fields too: a stage may come with a copy of PodlineError of its own. */
export function asPodlineError(thrown: unknown, code: ErrorCode): PodlineError {
  if (
    !(thrown instanceof PodlineError) &&
    thrown instanceof Error &&
    thrown.name === 'PodlineError' &&
    'code' in thrown &&
    String(thrown.code) in errorCatalogue
  ) {
    return PodlineError.fromWire(thrown as unknown as WireError);
  }
  return PodlineError.from(thrown, code);
}

export const stackOf = (thrown: unknown): string | undefined =>
  thrown instanceof Error ? thrown.stack?.slice(0, limits.logTailBytes) : undefined;
