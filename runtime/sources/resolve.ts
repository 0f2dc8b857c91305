/**
 * `input.source` as a manifest says it → the files and addresses that it means, each with the key of its shard.
 *
 * A file stands for itself, a folder for the files in it that have a name of the format, a pattern for what matches it, `npm:package/path`
 * for a file of an installed package (found from the manifest's folder, then from Podline's). A source that is named twice counts once.
 *
 * Invariants
 *  1. The order is that of the manifest, and within an entry that of the names: it does not depend on the file system.
 *  2. A key depends on the manifest and the file's own path only, so that a new file beside it changes no other key.
 *  3. Keys are unique.
 */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { basename, dirname, relative, resolve, sep } from 'node:path';
import { PodlineError } from '../contracts/errors.js';
import type { InputFormat, PipelineSpec } from '../contracts/manifest.js';
import { packageRoot } from '../platform/entries.js';
import { packageFile } from '../platform/package-file.js';
import { filesIn, glob, globBase, isGlob } from './glob.js';
import { shownUrl } from './http-source.js';
import { isHttp } from './open-source.js';

export interface ResolvedSource {
  /** Absolute path or address. */
  uri: string;
  key: string;
}

const extensions: Record<InputFormat, RegExp | undefined> = {
  parquet: /\.(parquet|pq)$/i,
  csv: /\.(csv|tsv|tab)$/i,
  ndjson: /\.(ndjson|jsonl|ldjson)$/i,
  arrow: /\.(arrow|arrows|feather|ipc)$/i,
  bytes: undefined,
};

/** Leaves room for `#000000` within the 512 characters of a key. */
const keyCharsMax = 500;

interface Found {
  uri: string;
  /** Local files: what their key is relative to. */
  base?: string | undefined;
  /** Keys to try, for those that are not local. */
  names: string[];
}

/** Throws PDL_SOURCE_MISSING with the pattern that means nothing. */
export async function resolveSources(
  source: Exclude<PipelineSpec['input']['source'], undefined | { inline: unknown }>,
  format: InputFormat,
  baseDir: string,
): Promise<ResolvedSource[]> {
  const found: Found[] = [];
  for (const entry of Array.isArray(source) ? source : [source]) found.push(...(await resolveEntry(entry, format, baseDir)));
  const base = commonFolder(found.flatMap((each) => each.base ?? []));
  const taken = new Set<string>();
  const uris = new Set<string>();
  return found.flatMap((each) => {
    if (uris.has(each.uri)) return [];
    uris.add(each.uri);
    const wishes = each.base === undefined ? each.names : [relative(base, each.uri).split(sep).join('/')];
    const last = wishes.at(-1) ?? each.uri;
    const key = [...wishes, `${last}-${digest(each.uri)}`].map(bounded).find((name) => !taken.has(name)) ?? digest(each.uri);
    taken.add(key);
    return [{ uri: each.uri, key }];
  });
}

async function resolveEntry(entry: string, format: InputFormat, baseDir: string): Promise<Found[]> {
  const missing = (what: string, hint?: string): PodlineError =>
    new PodlineError('PDL_SOURCE_MISSING', `\`${entry}\` ${what}`, { place: 'spec.input.source', hint });
  if (isHttp(entry)) {
    const url = new URL(entry);
    const path = decodePath(url.pathname);
    return [{ uri: entry, names: [basename(path) || url.host, `${url.host}${path}`, shownUrl(entry)] }];
  }
  if (entry.startsWith('npm:')) {
    const specifier = entry.slice('npm:'.length);
    const path = await packageFile(specifier, [baseDir, packageRoot]);
    if (path === undefined)
      throw missing(`is in no node_modules above ${baseDir}`, 'Install the package, or check the path within it.');
    return [{ uri: path, names: [basename(path), specifier] }];
  }
  const path = resolve(baseDir, entry);
  const there = await stat(path).catch(() => undefined);
  if (there?.isFile() === true) return [{ uri: path, base: dirname(path), names: [] }];
  if (there?.isDirectory() === true) {
    const all = await filesIn(path);
    const files = all.filter((file) => extensions[format]?.test(file) !== false);
    if (files.length === 0) {
      throw all.length === 0
        ? missing(`is a folder without files`)
        : missing(
            `is a folder in which no file has a name of format ${format}, as ${basename(all[0] ?? '')} has none`,
            'Name the files with a pattern, e.g. `folder/*`, or set `format`.',
          );
    }
    return files.map((uri) => ({ uri, base: path, names: [] }));
  }
  if (!isGlob(entry)) throw missing(`is not there (looked for ${path})`);
  const files = await glob(baseDir, entry);
  const base = globBase(baseDir, entry);
  if (files.length === 0) throw missing(`matches no file (looked in ${base})`);
  return files.map((uri) => ({ uri, base, names: [] }));
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function commonFolder(folders: readonly string[]): string {
  const [first = '/', ...others] = folders;
  let common = first.split(sep);
  for (const folder of others) {
    const segments = folder.split(sep);
    const end = common.findIndex((segment, index) => segments[index] !== segment);
    if (end >= 0) common = common.slice(0, end);
  }
  return common.join(sep) || sep;
}

const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 12);
const bounded = (key: string): string => (key.length <= keyCharsMax ? key : `${digest(key)}…${key.slice(-(keyCharsMax - 20))}`);
