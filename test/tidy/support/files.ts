/** The files of the repository that people write: what the tidy checks look at. */
import { readFileSync, readdirSync } from 'node:fs';
import { extname, join } from 'node:path';
import { packageRoot } from '../../../runtime/platform/entries.js';

export interface SourceFile {
  /** Relative to the repository, with slashes. */
  path: string;
  text: string;
}

const folders = [
  'runtime',
  'sidecars',
  'test',
  'benchmarks',
  'examples',
  'scripts',
  'docs',
  'manifests',
  'openkruise',
  'native',
  '.ci',
];
const written = new Set(['.ts', '.js', '.mjs', '.cjs', '.md', '.yaml', '.yml', '.json', '.sh', '.py', '.c', '.html', '']);
const made =
  /(^|\/)(node_modules|dist|\.podline|prebuilds|build|coverage|__pycache__)(\/|$)|^(examples|benchmarks)\/(.*\/)?results(\/|$)/;

let all: SourceFile[] | undefined;

/** Files whose path fits, read once per process. */
export function sourceFiles(path: RegExp = /./): SourceFile[] {
  all ??= [...folders.flatMap(under), ...topLevel()].map((file) => ({
    path: file,
    text: readFileSync(join(packageRoot, file), 'utf8'),
  }));
  return all.filter((file) => path.test(file.path));
}

function under(folder: string): string[] {
  let found: string[];
  try {
    found = readdirSync(join(packageRoot, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) =>
        join(entry.parentPath, entry.name)
          .slice(packageRoot.length + 1)
          .replaceAll('\\', '/'),
      );
  } catch {
    return [];
  }
  return found.filter((file) => written.has(extname(file)) && !made.test(file));
}

const topLevel = (): string[] =>
  readdirSync(packageRoot, { withFileTypes: true })
    .filter((entry) => entry.isFile() && written.has(extname(entry.name)) && entry.name !== 'package-lock.json')
    .map((entry) => entry.name);

/** `path:line text` for every line that fits. */
export const linesThatFit = (files: readonly SourceFile[], pattern: RegExp): string[] =>
  files.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1} ${line.trim()}`] : [])),
  );
