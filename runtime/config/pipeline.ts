/**
 * From a manifest to a pipeline as lines get it: stages bundled, versions known, declarations read, defaults set.
 *
 * Invariant: two pipelines whose stages compute the same have the same versions, wherever and whenever they were resolved.
 */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import { inputStream } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { Pipeline, PipelineManifest, ResolvedStage, StageSpec } from '../contracts/manifest.js';
import { flowColumns } from '../line/columns.js';
import { bundleStage } from './bundle.js';
import { readDeclarations } from './declarations.js';
import { parseDurationMs } from './units.js';

export interface ResolveOptions {
  /** What relative paths of the manifest start from; absolute. */
  baseDir: string;
  /** Where the bundles go: the PODLINE_STAGES_DIR of the lines. */
  stagesDir: string;
  /**
   * Where the bundles for an image go as well, if lines run from one: see `bundle.ts`. Commands then run in the working directory of their
   * image, and not in the manifest's folder, which is not there.
   */
  imageDir?: string | undefined;
  revision: number;
}

/** Throws PDL_STAGE_LOAD (a stage cannot be built or loaded) and PDL_STAGE_COLUMNS (stages ask for what cannot be there; all of it is told). */
export async function resolvePipeline(manifest: PipelineManifest, options: ResolveOptions): Promise<Pipeline> {
  const { spec, metadata } = manifest;
  const bundled = await Promise.all(spec.stages.map((stage) => resolveCode(stage, options)));
  const sources = new Map(
    bundled.flatMap((stage) => (stage.module === undefined ? [] : [[join(options.stagesDir, stage.module), stage] as const])),
  );
  const declarations = await readDeclarations([...sources.keys()], (module) =>
    resolve(options.baseDir, sources.get(module)?.uses ?? module),
  );
  const stages = bundled.map((stage): ResolvedStage => {
    const declares = stage.module === undefined ? undefined : declarations.get(join(options.stagesDir, stage.module));
    return declares === undefined ? stage : { ...stage, declares };
  });
  const pipeline: Pipeline = { name: metadata.name, revision: options.revision, spec, stages, baseDir: options.baseDir };
  const { faults } = flowColumns(pipeline);
  if (faults.length > 0) throw together(faults);
  return pipeline;
}

/** Several faults as one error, which has each of them in its cause. */
function together(faults: readonly PodlineError[]): PodlineError {
  const [first, second] = faults;
  if (first !== undefined && second === undefined) return first;
  return new PodlineError('PDL_STAGE_COLUMNS', faults.map(({ message }) => message).join('\n'), {
    place: first?.place,
    cause: new AggregateError(faults),
  });
}

async function resolveCode(stage: StageSpec, options: ResolveOptions): Promise<ResolvedStage> {
  const resolved = {
    ...stage,
    after: stage.after === undefined || stage.after.length === 0 ? [inputStream] : stage.after,
    ...(stage.timeout === undefined ? {} : { timeoutMs: parseDurationMs(stage.timeout) }),
  };
  if (stage.uses !== undefined) {
    const { stagesDir: outDir, imageDir } = options;
    return { ...resolved, ...(await bundleStage(resolve(options.baseDir, stage.uses), { outDir, imageDir })) };
  }
  if (stage.command === undefined)
    throw new PodlineError('PDL_MANIFEST_INVALID', `stage ${stage.name} has neither \`uses\` nor \`command\``);
  const cwd = options.imageDir === undefined ? { cwd: options.baseDir } : {};
  return { ...resolved, ...cwd, version: await commandVersion(stage.command, stage, options.baseDir) };
}

/**
 * What a command computes hangs on its words, on its image, and on the content of those words that are files beside the manifest.
 * An absolute path (an interpreter of this machine) counts by its name only.
 */
async function commandVersion(command: readonly string[], stage: StageSpec, baseDir: string): Promise<string> {
  const files = await Promise.all(
    command.map(async (word) => (isAbsolute(word) ? null : await fileDigest(resolve(baseDir, word)))),
  );
  const parts = { command, image: stage.image ?? null, stdio: stage.stdio, output: stage.output, files };
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

/** Larger files are data rather than programs: only size and time of change count, as for a source. */
const programBytesMax = 64 * 1024 * 1024;

/** Digest of a file's content; null for what is no file. */
async function fileDigest(path: string): Promise<string | null> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile() !== true) return null;
  if (found.size > programBytesMax) return `${found.size}@${found.mtimeMs}`;
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}
