/**
 * Delivers the result of a shard: its folder appears whole, or not at all.
 *
 * Files and manifest are written into a folder beside, synced, and renamed to `<resultDir>/<key>`. A result of the same
 * shard that was made from something else is moved aside first and removed afterwards.
 *
 * Invariants
 *  1. Under the final name there is never a torn result; between the two renames of a replacement there is none, and the
 *     next delivery puts the old one back before anything else.
 *  2. Nothing is replaced that is not a result of this pipeline and key: PDL_RESULT_TAKEN.
 *  3. A lower epoch never replaces what a higher one delivered: PDL_LEASE_LOST.
 *  4. Delivering again what is there, whole, changes nothing.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { requireUnder } from '../access/real-path.js';
import { noBytes } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { ResultFile } from '../contracts/shard.js';
import { mediumOf } from '../platform/medium-of.js';
import { syncFolder, writeFileAtomically } from '../platform/files.js';
import { besideName, besides, folderName, manifestFile } from './names.js';
import { findFault, inOrderOfNames, readResultManifest, resultHash, type ResultManifest } from './result-manifest.js';
import type { Delivered, WriteResultRequest } from './types.js';
import { writeStream } from './write-stream.js';

/** Throws PDL_PLACE_FORBIDDEN, PDL_RESULT_DIR, PDL_RESULT_TAKEN, PDL_LEASE_LOST (aborted, or a higher epoch delivers), PDL_STAGE_OUTPUT. */
export async function writeResult(request: WriteResultRequest): Promise<Delivered> {
  const { resultDir, shardKey, shardId, epoch } = request;
  const final = join(resultDir, folderName(shardKey));
  const beside = join(resultDir, besideName(shardKey, shardId, epoch, 'tmp'));
  const wanted = wantedLineages(request);
  const bytes = noBytes();
  try {
    if (request.allowedRoots !== undefined) await requireUnder('the result directory', resultDir, request.allowedRoots);
    await mkdir(resultDir, { recursive: true });
    // What was made is looked at once more: a link may have been put in the way.
    if (request.allowedRoots !== undefined) await requireUnder('the result directory', resultDir, request.allowedRoots);
    await clearLeftovers(request, final);
    const there = await examine(request, final);
    if (there !== undefined && isSame(there, request, wanted) && (await findFault(final, there)) === undefined) {
      bytes[await mediumOf(resultDir)].read += sizeOf(there.files);
      return { result: { dir: final, files: there.files, hash: there.hash }, bytes, already: true };
    }
    const files = await writeFiles(request, beside, bytes);
    const hash = resultHash(files);
    const { name: pipeline, revision } = request.pipeline;
    const manifest: ResultManifest = {
      format: 1,
      pipeline,
      revision,
      shardId,
      key: shardKey,
      epoch,
      tables: request.format,
      lineages: wanted,
      files,
      hash,
    };
    await writeFileAtomically(join(beside, manifestFile), `${JSON.stringify(manifest, null, 2)}\n`);
    bytes[await mediumOf(resultDir)].written += sizeOf(files);
    check(request);
    await putInPlace(request, beside, final);
    return { result: { dir: final, files, hash }, bytes, already: false };
  } catch (error) {
    await rm(beside, { recursive: true, force: true }).catch(() => undefined);
    throw asResultError(error, resultDir);
  }
}

/** What a crash left beside the shard's folder: an old result is put back, or removed where the new one is in its place. */
async function clearLeftovers({ resultDir, shardKey, shardId, epoch }: WriteResultRequest, final: string): Promise<void> {
  const found = besides(await readdir(resultDir), shardKey, shardId).sort((a, b) => b.epoch - a.epoch);
  const higher = found.find((entry) => entry.epoch > epoch);
  if (higher !== undefined) throw higherEpoch(shardId, epoch, higher.epoch);
  for (const { name, kind } of found) {
    const path = join(resultDir, name);
    if (kind === 'old' && !existsSync(final)) {
      await rename(path, final);
      await syncFolder(resultDir);
    } else {
      await rm(path, { recursive: true, force: true });
    }
  }
}

/** The manifest of what is there under the final name, when it may be replaced; undefined when there is nothing. */
async function examine(
  { shardKey, shardId, pipeline, epoch }: WriteResultRequest,
  final: string,
): Promise<ResultManifest | undefined> {
  if (!existsSync(final)) return undefined;
  if (!(await stat(final)).isDirectory()) throw taken(final, 'a file of that name is there');
  if ((await readdir(final)).length === 0) return undefined;
  const manifest = await readResultManifest(final);
  if (manifest === undefined) throw taken(final, `the folder is not empty and has no ${manifestFile} of Podline`);
  if (manifest.pipeline !== pipeline.name || manifest.key !== shardKey) {
    throw taken(final, `it holds the result of pipeline ${manifest.pipeline}, key ${manifest.key}`);
  }
  if (manifest.shardId === shardId && manifest.epoch > epoch) throw higherEpoch(shardId, epoch, manifest.epoch);
  return manifest;
}

async function writeFiles(request: WriteResultRequest, folder: string, bytes: Delivered['bytes']): Promise<ResultFile[]> {
  const { scratch, shardId, format } = request;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  const reader = scratch.openReader(shardId);
  try {
    const files: ResultFile[] = [];
    const names = new Set<string>();
    for (const stage of [...request.resultStages].sort()) {
      const record = sealedStream(request, stage);
      files.push(
        ...(await writeStream({
          scratch,
          reader,
          shardId,
          record,
          format,
          folder,
          names,
          help: request.help,
          check: () => {
            check(request);
          },
        })),
      );
    }
    for (const sub of new Set(files.flatMap(({ name }) => foldersAbove(name)))) await syncFolder(join(folder, sub));
    for (const { read } of [reader, ...(request.help === undefined ? [] : [request.help])]) {
      bytes.memory.read += read.memory;
      bytes.ssd.read += read.ssd;
    }
    return inOrderOfNames(files);
  } finally {
    reader.close();
  }
}

async function putInPlace(request: WriteResultRequest, beside: string, final: string): Promise<void> {
  const { resultDir, shardKey, shardId, epoch } = request;
  const replaced = await examine(request, final);
  const old = join(resultDir, besideName(shardKey, shardId, epoch, 'old'));
  if (replaced !== undefined) await rename(final, old);
  await rename(beside, final);
  await syncFolder(resultDir);
  if (replaced !== undefined) await rm(old, { recursive: true, force: true });
}

function sealedStream(
  { scratch, shardId, lineages }: WriteResultRequest,
  stage: string,
): ReturnType<WriteResultRequest['scratch']['streams']>[number] {
  const record = scratch.stream(shardId, stage);
  if (record?.sealed !== true)
    throw new PodlineError('PDL_INTERNAL', `the result ${stage} of shard ${shardId} is not whole in the scratch`);
  if (record.lineage.digest !== lineages.get(stage)?.digest) {
    throw new PodlineError('PDL_INTERNAL', `the result ${stage} of shard ${shardId} in the scratch was made from something else`);
  }
  return record;
}

function wantedLineages({ resultStages, lineages, shardId }: WriteResultRequest): Record<string, string> {
  const wanted: Record<string, string> = {};
  for (const stage of [...resultStages].sort()) {
    const lineage = lineages.get(stage);
    if (lineage === undefined) throw new PodlineError('PDL_INTERNAL', `shard ${shardId} has no lineage for its result ${stage}`);
    wanted[stage] = lineage.digest;
  }
  return wanted;
}

function isSame(there: ResultManifest, request: WriteResultRequest, wanted: Record<string, string>): boolean {
  const names = Object.keys(wanted);
  return (
    there.tables === request.format &&
    names.length === Object.keys(there.lineages).length &&
    names.every((name) => there.lineages[name] === wanted[name])
  );
}

function check({ signal, shardId }: WriteResultRequest): void {
  if (signal?.aborted === true) throw new PodlineError('PDL_LEASE_LOST', `the delivery of shard ${shardId} was cancelled`);
}

const sizeOf = (files: readonly ResultFile[]): number => files.reduce((sum, { bytes }) => sum + bytes, 0);

function foldersAbove(name: string): string[] {
  const above = dirname(name);
  return above === '.' ? [] : [above, ...foldersAbove(above)];
}

const taken = (final: string, why: string): PodlineError =>
  new PodlineError('PDL_RESULT_TAKEN', `${final} cannot be written: ${why}`, { place: final });

const higherEpoch = (shardId: string, epoch: number, other: number): PodlineError =>
  new PodlineError(
    'PDL_LEASE_LOST',
    `shard ${shardId} is delivered under epoch ${String(other)}: epoch ${String(epoch)} delivers no more`,
  );

function asResultError(error: unknown, resultDir: string): PodlineError {
  if (error instanceof PodlineError) return error;
  if (!(error instanceof Error && 'syscall' in error)) return PodlineError.from(error);
  const why = 'code' in error && error.code === 'ENOSPC' ? 'it is full' : error.message;
  return new PodlineError('PDL_RESULT_DIR', `the result directory ${resultDir} cannot be written: ${why}`, {
    place: resultDir,
    cause: error,
  });
}
