/**
 * Glob patterns over folders: `*`, `?`, `[a-z]`, `{a,b}` within a name, `**` over folders. Names that begin with a dot are matched only
 * by patterns that do. Node's own glob came with version 22.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

export const isGlob = (path: string): boolean => /[*?[{]/.test(path);

/** The folder that all matches of an absolute pattern lie in. */
export function globBase(pattern: string): string {
  const segments = pattern.split('/');
  const first = segments.findIndex(isGlob);
  return segments.slice(0, first < 0 ? -1 : first).join('/') || '/';
}

/** Files that match an absolute pattern, sorted, each once. Links to folders are not followed by `**`. */
export async function glob(pattern: string): Promise<string[]> {
  const found = new Set<string>();
  for (const plain of expandBraces(pattern)) {
    const base = globBase(plain);
    await walk(base, plain.slice(base === '/' ? 1 : base.length + 1).split('/'), found);
  }
  return [...found].sort();
}

/** All files in a folder and the folders in it, sorted; names with a dot at their head aside. */
export const filesIn = (folder: string): Promise<string[]> => glob(`${folder.replaceAll(/[*?[\]{}]/g, '[$&]')}/**/*`);

async function walk(folder: string, [segment, ...rest]: string[], found: Set<string>): Promise<void> {
  if (segment === undefined) return;
  if (segment === '**') {
    if (rest.length === 0) rest = ['*'];
    await walk(folder, rest, found);
    for (const entry of await entriesOf(folder)) {
      if (entry.isDirectory() && !entry.name.startsWith('.')) await walk(join(folder, entry.name), [segment, ...rest], found);
    }
    return;
  }
  const matches = segmentMatcher(segment);
  for (const entry of await entriesOf(folder)) {
    if (!matches(entry.name)) continue;
    const path = join(folder, entry.name);
    if (rest.length > 0) await walk(path, rest, found);
    else if (entry.isFile() || (entry.isSymbolicLink() && (await stat(path).catch(() => undefined))?.isFile() === true)) found.add(path);
  }
}

const entriesOf = async (folder: string) =>
  readdir(folder, { withFileTypes: true }).catch((thrown: unknown) => {
    if (thrown instanceof Error && 'code' in thrown && (thrown.code === 'ENOENT' || thrown.code === 'ENOTDIR')) return [];
    throw thrown;
  });

function segmentMatcher(segment: string): (name: string) => boolean {
  let source = '';
  for (let at = 0; at < segment.length; at++) {
    const char = segment[at] ?? '';
    const close = char === '[' ? segment.indexOf(']', at + 2) : -1;
    if (char === '*') source += '[^/]*';
    else if (char === '?') source += '[^/]';
    else if (close > 0) {
      const set = segment.slice(at + 1, close).replace(/^!/, '^').replaceAll(/[\\[]/g, '\\$&');
      source += `[${set}]`;
      at = close;
    } else source += char.replaceAll(/[\\^$.|+()[\]{}]/g, '\\$&');
  }
  const pattern = new RegExp(`^${source}$`, 'u');
  return (name) => (segment.startsWith('.') || !name.startsWith('.')) && pattern.test(name);
}

function expandBraces(pattern: string): string[] {
  let depth = 0;
  let open = -1;
  const commas: number[] = [];
  for (let at = 0; at < pattern.length; at++) {
    // Within [ ] a brace is a character.
    if (pattern[at] === '[' && pattern.indexOf(']', at + 2) > 0) at = pattern.indexOf(']', at + 2);
    else if (pattern[at] === '{' && depth++ === 0) open = at;
    else if (pattern[at] === ',' && depth === 1) commas.push(at);
    else if (pattern[at] === '}' && depth > 0 && --depth === 0) {
      if (commas.length === 0) return expandBraces(pattern.slice(at + 1)).map((rest) => pattern.slice(0, at + 1) + rest);
      const ends = [open, ...commas, at];
      return ends.slice(1).flatMap((end, i) => expandBraces(pattern.slice(0, open) + pattern.slice((ends[i] ?? 0) + 1, end) + pattern.slice(at + 1)));
    }
  }
  return [pattern];
}
