/**
 * Takes a resource in: resolved, with the code of its stages known, in the journal. Nothing of the cluster's objects.
 *
 * Invariant: the same form of a resource (uid and generation) is taken in once per process, and a second time changes nothing.
 */
import type { Pipeline, PipelineManifest } from '../contracts/manifest.js';
import { isPodlineError, PodlineError } from '../contracts/errors.js';
import { parseQuantity } from '../config/units.js';
import { slotsOf } from '../line/concurrency.js';
import type { Desk } from './desk.js';
import type { ImageCode } from './image-code.js';
import type { KubeObject } from './kube-rest.js';
import { sizeLine, type LineSize } from './plan-pod.js';
import { imagesToRead, manifestOf, Refusal, resolveResource, type ImageStages } from './resolve.js';
import type { Submission } from './submissions.js';

/** What is known of a resource beyond what the API server says. */
export interface Known {
  uid: string;
  /** The form of the resource that was last taken in. */
  generation: number;
  manifest: PipelineManifest;
  /** As lines get it. */
  pipeline: Pipeline;
  slots: number;
  /** The manifest says how it is scaled; without it, it has as many lines as the resource says. */
  isScaled: boolean;
  size: LineSize;
  /** The coordinator holds its lines, by this form of it. */
  isHeld: boolean;
  submission: Submission | undefined;
}

export interface IntakeOptions {
  desk: Pick<Desk, 'applyPipeline'>;
  code: Pick<ImageCode, 'read'>;
  /** The installation's, for stages without one of their own. */
  image: string;
  /** Cores of a line that does not say. */
  cores: number;
  resultRoot: string;
}

export class Intake {
  constructor(private readonly options: IntakeOptions) {}

  /** `undefined`: an image is still read, ask again in a second. `name`: unique in the journal. Throws Refusal. */
  async take(resource: KubeObject, name: string, before: Known | undefined): Promise<Known | undefined> {
    const { desk, code, image, cores, resultRoot } = this.options;
    const { uid = '', generation = 0 } = resource.metadata;
    const manifest = manifestOf(resource);
    const stages = new Map<string, ImageStages>();
    for (const wanted of imagesToRead(manifest, image)) {
      const found = await code.read(wanted, resource);
      if (found === undefined) return undefined;
      stages.set(wanted, found);
    }
    const resolved = resolveResource(manifest, { name, defaultImage: image, stages, resultRoot });
    const { cpu } = resolved.spec.resources;
    const slots = slotsOf(resolved, cpu === undefined ? cores : parseQuantity(cpu));
    const size = sized(resolved, slots, cores);
    const view = await desk.applyPipeline(resolved).catch(throwInvalid);
    return {
      uid,
      generation,
      manifest,
      pipeline: view.pipeline ?? { ...resolved, revision: view.revision },
      slots,
      isScaled: (resource.spec as { scaling?: unknown } | undefined)?.scaling !== undefined,
      size,
      isHeld: false,
      submission: before?.uid === uid ? before.submission : undefined,
    };
  }
}

function sized(pipeline: Pipeline, slots: number, cores: number): LineSize {
  try {
    return sizeLine(pipeline, { slots, cores });
  } catch (thrown) {
    throw new Refusal('SpecInvalid', PodlineError.from(thrown, 'PDL_MANIFEST_INVALID'));
  }
}

/** What the coordinator refuses of a pipeline is the pipeline's to show. */
function throwInvalid(thrown: unknown): never {
  if (isPodlineError(thrown, 'PDL_MANIFEST_INVALID')) throw new Refusal('SpecInvalid', thrown);
  throw thrown;
}
