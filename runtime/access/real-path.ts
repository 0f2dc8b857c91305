/** Paths as the file system sees them: symlinks resolved, held against the folders that are allowed. */
import { realpath } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { forbidden, isUnder, notUnder } from './places.js';

const codeOf = (thrown: unknown): unknown => (thrown instanceof Error && 'code' in thrown ? thrown.code : undefined);

/** The real path of what is there, and below it, unresolved, what is not there yet. */
export async function realPathOf(path: string): Promise<string> {
  const absolute = resolve(path);
  try {
    return await realpath(absolute);
  } catch (thrown) {
    const code = codeOf(thrown);
    if ((code !== 'ENOENT' && code !== 'ENOTDIR') || dirname(absolute) === absolute) throw thrown;
    return join(await realPathOf(dirname(absolute)), basename(absolute));
  }
}

/** The real path. Throws PDL_PLACE_FORBIDDEN unless the path, as written and as resolved, lies in one of the roots, which may themselves be symlinks. */
export async function requireUnder(what: string, path: string, roots: readonly string[]): Promise<string> {
  if (!isAbsolute(path)) throw forbidden(what, path, 'it is no absolute path');
  if (!isUnder(path, roots)) throw forbidden(what, path, notUnder(roots));
  const [real, ...realRoots] = await Promise.all([realOf(what, path), ...roots.map((root) => realOf('the folder', root))]);
  if (!isUnder(real, realRoots)) throw forbidden(what, path, `it leads to ${real}, and ${notUnder(roots)}`);
  return real;
}

async function realOf(what: string, path: string): Promise<string> {
  try {
    return await realPathOf(path);
  } catch (thrown) {
    const code = codeOf(thrown);
    // A loop of symlinks, a name that is too long, a folder that may not be entered: where it leads cannot be told.
    throw forbidden(what, path, `it cannot be resolved (${typeof code === 'string' ? code : String(thrown)})`);
  }
}
