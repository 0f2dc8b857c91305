/**
 * Glob patterns over folders: `*`, `?`, `[a-z]`, `{a,b}` within a name, `**` over folders. Names that begin with a dot are matched only
 * by patterns that do. Node's own glob came with version 22.
 */
import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';

export const isGlob = (path: string): boolean => /[*?[{]/.test(path);

/** The folder that all matches lie in; a relative pattern begins at `from`. */
export function globBase(from: string, pattern: string): string {
  return takeApart(from, pattern).base;
}

/** Files that match, absolute, sorted, each once. Links to folders are not followed by `**`. */
export async function glob(from: string, pattern: string): Promise<string[]> {
  const found = new Set<string>();
  for (const plain of expandBraces(pattern)) {
    const { base, segments } = takeApart(from, plain);
    await walk(base, segments, found);
  }
  return [...found].sort();
}

/** All files in a folder and the folders in it, sorted; names with a dot at their head aside. */
export async function filesIn(folder: string): Promise<string[]> {
  const found = new Set<string>();
  await walk(folder, ['**', '*'], found);
  return [...found].sort();
}

function takeApart(from: string, pattern: string): { base: string; segments: string[] } {
  const segments = pattern.split('/').filter((segment, index) => segment !== '' || index === 0);
  const first = segments.findIndex(isGlob);
  const fixed = segments.slice(0, first < 0 ? -1 : first);
  return {
    base: resolve(from, fixed.join('/') || (pattern.startsWith('/') ? '/' : '.')),
    segments: segments.slice(fixed.length),
  };
}

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
    else if (entry.isFile() || (entry.isSymbolicLink() && (await stat(path).catch(() => undefined))?.isFile() === true))
      found.add(path);
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
      const set = segment
        .slice(at + 1, close)
        .replace(/^!/, '^')
        .replaceAll(/[\\[\]]/g, '\\$&');
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
      return ends
        .slice(1)
        .flatMap((end, i) =>
          expandBraces(pattern.slice(0, open) + pattern.slice((ends[i] ?? 0) + 1, end) + pattern.slice(at + 1)),
        );
    }
  }
  return [pattern];
}
