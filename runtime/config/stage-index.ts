/**
 * The stages of a pipeline as an image carries them: bundles and a list of what they are, so that whoever has the image needs neither
 * their sources nor a bundler.
 *
 *   <out>/pipelines/<pipeline>/stages.json      what this file describes
 *   <out>/pipelines/<pipeline>/<version>.mjs    one module for each stage with `uses`
 *
 * In an image `<out>` is `/podline`. Versions are those that the same sources have on any machine (`bundle.ts`), so a checkpoint that was
 * made there is taken up here.
 */
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PodlineError } from '../contracts/errors.js';
import type { StageDeclaration } from '../contracts/manifest.js';
import { writeFileAtomically } from '../platform/files.js';
import { readManifest } from './manifest.js';
import { resolvePipeline } from './pipeline.js';

export interface ImageStage {
  name: string;
  /** As the manifest has it. */
  uses: string;
  version: string;
  /** Beside `stages.json`. */
  module: string;
  declares: StageDeclaration;
}

export interface StageIndex {
  stages: ImageStage[];
}

const indexFile = 'stages.json';
const folderOf = (root: string, pipeline: string): string => join(root, 'pipelines', pipeline);

/** Bundles the stages of a manifest into `<out>/pipelines/<its name>`. Throws what linting the manifest would tell. */
export async function buildStages(manifestFile: string, out: string): Promise<{ folder: string; index: StageIndex }> {
  const { manifest, baseDir } = await readManifest(manifestFile);
  const folder = folderOf(out, manifest.metadata.name);
  const stagesDir = await mkdtemp(join(tmpdir(), 'podline-build-'));
  try {
    await mkdir(folder, { recursive: true });
    const pipeline = await resolvePipeline(manifest, { baseDir, stagesDir, imageDir: folder, revision: 0 });
    const stages = pipeline.stages.flatMap(({ name, uses, version, module, declares }) =>
      uses === undefined || module === undefined || declares === undefined ? [] : [{ name, uses, version, module, declares }],
    );
    const index: StageIndex = { stages };
    await writeFileAtomically(join(folder, indexFile), `${JSON.stringify(index, undefined, 2)}\n`);
    const modules = new Set(stages.map(({ module }) => module));
    for (const name of await readdir(folder))
      if (/^[0-9a-f]{64}\.mjs$/.test(name) && !modules.has(name)) await rm(join(folder, name));
    return { folder, index };
  } finally {
    await rm(stagesDir, { recursive: true, force: true });
  }
}

/** What `buildStages` wrote. Throws PDL_STAGE_LOAD where there is no such pipeline. */
export async function readStageIndex(root: string, pipeline: string): Promise<StageIndex> {
  const path = join(folderOf(root, pipeline), indexFile);
  try {
    return JSON.parse(await readFile(path, 'utf8')) as StageIndex;
  } catch (error) {
    const there = await readdir(join(root, 'pipelines')).catch(() => []);
    throw new PodlineError('PDL_STAGE_LOAD', `this image carries no stages of a pipeline ${pipeline}: no ${path}`, {
      place: pipeline,
      cause: error,
      hint:
        there.length === 0
          ? 'Build the image with what `podline build PIPELINE --out DIR` writes (docs/images.md).'
          : `It carries those of ${there.sort().join(', ')}. Build the image with what \`podline build PIPELINE --out DIR\` writes (docs/images.md).`,
    });
  }
}
