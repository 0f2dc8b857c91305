/**
 * Files of a delivered result, as streams, whole or a range of bytes.
 *
 * Invariants
 *  1. Served is what the journal lists as a file of this shard's result, from the shard's own folder, and nothing else:
 *     the folder of its key, directly in the result directory that was submitted, whatever a line reported.
 *  2. A symlink that leads out of the folder is not followed, nor one in the folder's place.
 */
import { constants } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { isUnder } from '../access/places.js';
import { PodlineError } from '../contracts/errors.js';
import type { ResultFile, Shard } from '../contracts/shard.js';
import { folderName } from '../platform/folder-names.js';

export interface OpenedFile {
  file: ResultFile;
  /** Bytes [from, to). */
  range: { from: number; to: number };
  sizeBytes: number;
  /** Closes the file when it ends or is destroyed. */
  stream: Readable;
}

/** `from` inclusive, `to` exclusive; `last` counts from the end. */
export type ByteRange = { from: number; to?: number | undefined } | { last: number };

const missing = (message: string): PodlineError => new PodlineError('PDL_RESULT_MISSING', message);

export function resultOf(shard: Shard): NonNullable<Shard['result']> {
  if (shard.result === undefined || shard.state !== 'completed')
    throw missing(`shard ${shard.id} is ${shard.state}: there is no result of it`);
  return shard.result;
}

/** Throws PDL_RESULT_MISSING; `range` beyond the file: undefined. */
export async function openResultFile(shard: Shard, name: string, range?: ByteRange): Promise<OpenedFile | undefined> {
  const { dir, files } = resultOf(shard);
  const file = files.find((known) => known.name === name);
  if (file === undefined) throw missing(`the result of shard ${shard.id} has no file ${name}`);
  const own = join(resolve(shard.resultDir), folderName(shard.key));
  const path = join(own, name);
  if (resolve(dir) !== own || !isUnder(path, [own])) throw missing(`${name} does not lie in the folder of shard ${shard.id}`);
  const handle = await openWithin(shard.resultDir, own, path, name);
  try {
    const { size: sizeBytes } = await handle.stat();
    const bytes = range === undefined ? { from: 0, to: sizeBytes } : within(range, sizeBytes);
    if (bytes === undefined) {
      await handle.close();
      return undefined;
    }
    const stream = handle.createReadStream({
      start: bytes.from,
      end: Math.max(bytes.to - 1, bytes.from),
      highWaterMark: 256 * 1024,
    });
    return { file, range: bytes, sizeBytes, stream };
  } catch (thrown) {
    await handle.close();
    throw thrown;
  }
}

async function openWithin(root: string, dir: string, path: string, name: string): Promise<Awaited<ReturnType<typeof open>>> {
  try {
    const [realRoot, realDir, realFile] = await Promise.all([realpath(root), realpath(dir), realpath(path)]);
    // The result directory may be a link, as its owner has it; the folder in it may not.
    if (realDir !== join(realRoot, basename(dir)) || !isUnder(realFile, [realDir]))
      throw missing(`${name} leads out of the folder of its result`);
    const handle = await open(realFile, constants.O_RDONLY | constants.O_NOFOLLOW);
    if ((await handle.stat()).isFile()) return handle;
    await handle.close();
    throw missing(`${name} is not a file`);
  } catch (thrown) {
    if (thrown instanceof PodlineError) throw thrown;
    const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : String(thrown);
    throw missing(`${name} is not there any more, or cannot be read (${code})`);
  }
}

function within(range: ByteRange, sizeBytes: number): { from: number; to: number } | undefined {
  if ('last' in range) return range.last === 0 ? undefined : { from: Math.max(0, sizeBytes - range.last), to: sizeBytes };
  const to = Math.min(range.to ?? sizeBytes, sizeBytes);
  return range.from < to ? { from: range.from, to } : undefined;
}

/** One range of a `Range` header; undefined for none, for several, and for what is not understood: then the whole is sent, as RFC 9110 has it. */
export function parseRange(header: string | undefined): ByteRange | undefined {
  const [, first = '', last = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? [];
  if (first === '') return last === '' ? undefined : { last: Number(last) };
  if (last !== '' && Number(last) < Number(first)) return undefined;
  return { from: Number(first), ...(last === '' ? {} : { to: Number(last) + 1 }) };
}
