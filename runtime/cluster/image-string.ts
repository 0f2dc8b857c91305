/**
 * Image strings: one for each step, so that the kubelet's back-off, which is kept by pod, container, image string and
 * resources, never takes one swap for a crash of another. The digest says what runs; the tag beside it is not looked at by
 * the container runtime and carries the step.
 */
import { createHash } from 'node:crypto';
import { PodlineError } from '../contracts/errors.js';

export interface ImageName {
  /** Registry and name: `registry:5000/team/image`. */
  repository: string;
  tag: string | undefined;
  /** `sha256:` and 64 hex digits. */
  digest: string | undefined;
}

/** The longest tag that the distribution specification allows. */
const tagLengthMax = 128;

/** Takes an image string apart. Throws PDL_SWAP_FAILED when it is none. */
export function parseImageName(image: string): ImageName {
  const match =
    /^((?:[A-Za-z0-9.-]+(?::\d+)?\/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$/.exec(
      image,
    );
  const repository = match?.[1];
  if (repository === undefined)
    throw new PodlineError('PDL_SWAP_FAILED', `\`${image}\` is not the name of an image`, { retry: 'never' });
  return { repository, tag: match?.[2], digest: match?.[3] };
}

/** `repo/name:<step>@sha256:…`. Throws PDL_SWAP_FAILED when the image is not pinned by digest. */
export function imageForStep(image: string, step: string): string {
  const { repository, digest } = parseImageName(image);
  if (digest === undefined) {
    throw new PodlineError('PDL_SWAP_FAILED', `the image \`${image}\` is not pinned by digest`, {
      hint: 'Name it with its digest: repository/name@sha256:…; a tag may mean something else tomorrow.',
      retry: 'never',
    });
  }
  return `${repository}:${stepTag(step)}@${digest}`;
}

/** A tag that only this step has: the step itself where it is a valid tag, else its readable part and a hash of the whole. */
export function stepTag(step: string): string {
  if (/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(step) && step.length <= tagLengthMax) return step;
  const readable = step.replaceAll(/[^A-Za-z0-9_.-]/g, '-').slice(0, 80);
  return `s${readable}-${createHash('sha256').update(step).digest('hex').slice(0, 16)}`;
}
