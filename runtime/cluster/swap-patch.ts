/** What is sent to the API server to put a stage into a slot: one patch of one pod, refused when the pod is another one or has changed since it was read. Pure. */
import { imageForStep } from './image-string.js';
import { slotContainer, stageAnnotation, stepAnnotation } from './names.js';

export interface SwapTarget {
  slot: number;
  stage: string;
  step: string;
  /** Pinned by digest, without the step. */
  image: string;
}

/** A strategic merge patch. uid and resourceVersion in it make the API server answer 409 where they do not match. */
export function swapPatch(pod: { uid: string; resourceVersion: string }, target: SwapTarget): Record<string, unknown> {
  return {
    metadata: {
      uid: pod.uid,
      resourceVersion: pod.resourceVersion,
      annotations: { [stageAnnotation(target.slot)]: target.stage, [stepAnnotation(target.slot)]: target.step },
    },
    spec: { containers: [{ name: slotContainer(target.slot), image: imageForStep(target.image, target.step) }] },
  };
}

/** The step that the pod is asked to hold in a slot: what the next start of the container will see. */
export function wantedStep(pod: { annotations?: Record<string, string> | undefined }, slot: number): string | undefined {
  return pod.annotations?.[stepAnnotation(slot)];
}
