/**
 * What is sent to the API server to put a stage into a slot: one patch of one pod, refused when the pod is another one or has changed since
 * it was read; and before it, where the pipeline wants that, what the pod asks of its node from then on. Pure.
 */
import type { Need } from '../line/pod-size.js';
import { parseAmount } from '../line/quantity.js';
import { imageForStep } from './image-string.js';
import { slotContainer, stageAnnotation, stepAnnotation } from './names.js';
import { requestsOf } from './plan-pod.js';
import type { PodView } from './verdict.js';

export interface SwapTarget {
  slot: number;
  stage: string;
  step: string;
  /** Pinned by digest, without the step. */
  image: string;
  /** What each slot needs by the stages that they hold; without it, requests stay as they are. */
  sizes?: ((held: readonly (string | undefined)[]) => Need[]) | undefined;
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

/**
 * A strategic merge patch of the subresource `resize`; `undefined` where nothing would change. Requests alone: limits hold for any stage as
 * they are, and so the class of service does not change.
 */
export function resizePatch(pod: PodView, target: SwapTarget): Record<string, unknown> | undefined {
  const slots = slotsIn(pod);
  if (target.sizes === undefined || slots === 0) return undefined;
  const held = Array.from({ length: slots }, (_, slot) =>
    slot === target.slot ? target.stage : pod.annotations[stageAnnotation(slot)],
  );
  const containers = target.sizes(held).flatMap((need, slot) => {
    const name = slotContainer(slot);
    const asked = pod.requests?.[name] ?? {};
    // What was asked for once cannot be left out, but be nothing.
    const requests = { ...(asked['cpu'] === undefined ? {} : { cpu: '0' }), ...requestsOf(need) };
    return isAsked(asked, requests) ? [] : [{ name, resources: { requests } }];
  });
  if (containers.length === 0) return undefined;
  return { metadata: { uid: pod.uid, resourceVersion: pod.resourceVersion }, spec: { containers } };
}

/** How many the pod was created with; 0 until the kubelet has said which containers there are. */
export const slotsIn = ({ containers }: PodView): number =>
  containers.filter(({ name }) => name.startsWith(slotContainer(0).replace('0', ''))).length;

/** The API server writes quantities in its own way. */
const isAsked = (asked: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>): boolean =>
  Object.entries(wanted).every(([name, value]) => parseAmount(asked[name] ?? '0') === parseAmount(value));

/** The step that the pod is asked to hold in a slot: what the next start of the container will see. */
export function wantedStep(pod: { annotations?: Record<string, string> | undefined }, slot: number): string | undefined {
  return pod.annotations?.[stepAnnotation(slot)];
}
