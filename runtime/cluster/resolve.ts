/**
 * From a custom resource to a pipeline as lines get it. Pure: what must be read from an image is handed in.
 *
 * Invariants
 *  1. What is refused is refused with the reason that becomes a condition, and with the way out.
 *  2. Images are pinned by digest, all of them: a tag may mean something else tomorrow, and a checkpoint says what it was made by.
 *  3. Two resources whose stages compute the same have the same versions; where lines run and how many there are is no part of it.
 */
import { createHash } from 'node:crypto';
import { isAbsolute, posix } from 'node:path';
import { z } from 'zod';
import { columnTypes, inputStream } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { Pipeline, PipelineManifest, ResolvedStage, StageSpec } from '../contracts/manifest.js';
import type { ConditionReason } from '../contracts/pipeline-status.js';
import { parseManifest } from '../config/manifest.js';
import { parseDurationMs } from '../config/units.js';
import { flowColumns } from '../line/columns.js';
import { canonicalJson } from '../line/lineage.js';
import { parseImageName } from './image-string.js';
import { imageStagesDir } from './names.js';
import type { KubeObject } from './kube-rest.js';

/** The pipeline cannot be worked on as it stands. */
export class Refusal extends Error {
  constructor(
    readonly reason: ConditionReason,
    readonly error: PodlineError,
  ) {
    super(error.hint === '' ? error.message : `${error.message}. ${error.hint}`, { cause: error });
    this.name = 'Refusal';
  }

  /** It may pass by itself: the same look may end otherwise later. */
  get isPassing(): boolean {
    return this.error.retry === 'later';
  }
}

const column = z.record(z.string(), z.object({ type: z.enum(columnTypes), nullable: z.boolean().optional() }));
/** What `image-stages` prints of an image: the part of a stage that a laptop computes when it loads a manifest. */
const imageStagesSchema = z.array(
  z.looseObject({
    name: z.string(),
    uses: z.string(),
    version: z.string().min(1),
    module: z.string().min(1),
    declares: z
      .looseObject({
        form: z.enum(['block', 'row', 'aggregate', 'bytes', 'files']),
        keep: z.union([z.enum(['all', 'none']), z.array(z.string())]),
        input: column.optional(),
        output: column.optional(),
        rename: z.record(z.string(), z.string()).optional(),
        selections: z.boolean().optional(),
      })
      .optional(),
  }),
);
export type ImageStages = z.infer<typeof imageStagesSchema>;
/** As `stages.json` of an image has it, and `image-stages` prints it. */
export const stageIndexSchema = z.object({ stages: imageStagesSchema });

/** Throws Refusal with every fault of the manifest. */
export function manifestOf({ apiVersion, kind, metadata, spec }: KubeObject): PipelineManifest {
  const { name, labels } = metadata;
  const text = JSON.stringify({ apiVersion, kind, metadata: { name, labels }, spec });
  const { manifest, faults } = parseManifest(text, name);
  if (manifest !== undefined) return manifest;
  const errors = faults.filter(({ severity }) => severity === 'error');
  const message = errors.map((fault) => `${fault.path}: ${fault.message}`).join('; ');
  const [first] = errors;
  throw new Refusal(
    'SpecInvalid',
    new PodlineError('PDL_MANIFEST_INVALID', message, first === undefined ? {} : { place: first.path, hint: first.hint }),
  );
}

/** The images whose `image-stages` must be known, of stages that are modules. Throws Refusal for one that is not pinned. */
export function imagesToRead(manifest: PipelineManifest, defaultImage: string): string[] {
  for (const stage of manifest.spec.stages) if (stage.image !== undefined) assertPinned(stage.name, stage.image);
  const modules = manifest.spec.stages.filter(({ uses }) => uses !== undefined);
  return [...new Set(modules.map(({ image }) => image ?? defaultImage))];
}

function assertPinned(stage: string, image: string): void {
  let digest: string | undefined;
  try {
    ({ digest } = parseImageName(image));
  } catch (thrown) {
    throw new Refusal(
      'ImageNotPinned',
      PodlineError.from(thrown, 'PDL_MANIFEST_INVALID', { place: `spec.stages.${stage}.image` }),
    );
  }
  if (digest !== undefined) return;
  throw new Refusal(
    'ImageNotPinned',
    new PodlineError('PDL_MANIFEST_INVALID', `stage ${stage}: the image \`${image}\` is not pinned by digest`, {
      place: `spec.stages.${stage}.image`,
      hint: 'Name it with its digest, repository/name@sha256:…: a tag may mean something else tomorrow.',
    }),
  );
}

export interface ResolveOptions {
  /** Unique over all namespaces of the coordinator. */
  name: string;
  defaultImage: string;
  /** By image. */
  stages: ReadonlyMap<string, ImageStages>;
  /** Where results of a manifest lie whose `result.dir` is relative. */
  resultRoot: string;
}

/** Throws Refusal. The revision is the journal's to count. */
export function resolveResource(manifest: PipelineManifest, options: ResolveOptions): Pipeline {
  const baseDir = imageStagesDir(manifest.metadata.name);
  const stages = manifest.spec.stages.map((stage): ResolvedStage => {
    const image = stage.image ?? options.defaultImage;
    return {
      ...stage,
      after: stage.after === undefined || stage.after.length === 0 ? [inputStream] : stage.after,
      ...(stage.timeout === undefined ? {} : { timeoutMs: parseDurationMs(stage.timeout) }),
      ...(stage.uses === undefined
        ? { version: commandVersion(stage, image) }
        : moduleOf(stage, image, options.stages.get(image) ?? [])),
    };
  });
  const { dir } = manifest.spec.result;
  const pipeline: Pipeline = {
    name: options.name,
    revision: 0,
    spec: {
      ...manifest.spec,
      // Not the business of lines: an autoscaler that adds one would be a new revision to all.
      lines: 1,
      placement: { spread: 'prefer', nodesMin: 1 },
      result: { ...manifest.spec.result, dir: isAbsolute(dir) ? dir : posix.join(options.resultRoot, options.name, dir) },
    },
    stages,
    baseDir,
  };
  const [fault] = flowColumns(pipeline).faults;
  if (fault !== undefined) throw new Refusal('SpecInvalid', fault);
  return pipeline;
}

/** What a command computes hangs on its image and its words; files beside a manifest there are none in a cluster. */
function commandVersion({ command, stdio, output }: StageSpec, image: string): string {
  const { digest } = parseImageName(image);
  return createHash('sha256')
    .update(canonicalJson({ image: digest, command, stdio, output }))
    .digest('hex');
}

function moduleOf(stage: StageSpec, image: string, found: ImageStages): Partial<ResolvedStage> & { version: string } {
  const known = found.find(({ name, uses }) => name === stage.name && uses === stage.uses);
  if (known !== undefined) {
    const { version, module, declares } = known;
    return { version, module, ...(declares === undefined ? {} : { declares }) };
  }
  const has = found.length === 0 ? 'it has none' : `it has ${found.map(({ name, uses }) => `${name} (${uses})`).join(', ')}`;
  throw new Refusal(
    'StagesUnresolved',
    new PodlineError('PDL_STAGE_LOAD', `the image ${image} has no stage ${stage.name} made of ${stage.uses ?? ''}: ${has}`, {
      place: `spec.stages.${stage.name}.uses`,
      hint: 'Build the image from this manifest, and name it with its digest in the stage’s `image`.',
    }),
  );
}

/** What the manifest says about its input: when it is another one, it is submitted anew. */
export const inputDigest = ({ spec }: PipelineManifest): string =>
  createHash('sha256')
    .update(canonicalJson(JSON.parse(JSON.stringify(spec.input))))
    .digest('hex')
    .slice(0, 16);
