/**
 * What must be done before a resource may go: nothing of it may be given to lines any more. Its objects go by their owner.
 *
 * Ended shards stay in the journal; a pipeline that is created again under the name runs its input again (`submit-input.ts`).
 */
import type { Desk } from './desk.js';
import { patchType, type KubeObject, type KubeRest } from './kube-rest.js';
import { objectPath } from './resources.js';

export const finalizer = 'podline.dev/journal';
const cancelledAtOnce = 1_000;

export async function putFinalizer(rest: KubeRest, { metadata }: KubeObject): Promise<void> {
  const finalizers = metadata.finalizers ?? [];
  if (!finalizers.includes(finalizer)) await setFinalizers(rest, metadata, [...finalizers, finalizer]);
}

/** Cancels open shards and lets the resource go. `more`: there are more of them, call again. */
export async function endPipeline(
  rest: KubeRest,
  desk: Pick<Desk, 'progress' | 'pause' | 'list' | 'cancel'>,
  name: string,
  { metadata }: KubeObject,
): Promise<'gone' | 'more'> {
  const finalizers = metadata.finalizers ?? [];
  if (!finalizers.includes(finalizer)) return 'gone';
  const isKnown = await desk.progress(name).then(
    () => true,
    () => false,
  );
  if (isKnown) {
    await desk.pause(name);
    for (const state of ['pending', 'running'] as const) {
      const { shards, next } = await desk.list(name, { state, max: cancelledAtOnce });
      // One that has ended meanwhile is as good.
      for (const { id } of shards) await desk.cancel(id).catch(() => undefined);
      if (next !== undefined) return 'more';
    }
  }
  await setFinalizers(
    rest,
    metadata,
    finalizers.filter((other) => other !== finalizer),
  );
  return 'gone';
}

/** With the version that was seen: somebody else's finalizer that came meanwhile is not lost. */
async function setFinalizers(rest: KubeRest, metadata: KubeObject['metadata'], finalizers: string[]): Promise<void> {
  await rest.request('PATCH', objectPath('Pipeline', metadata), {
    body: { metadata: { resourceVersion: metadata.resourceVersion, finalizers } },
    contentType: patchType.merge,
    query: { fieldManager: 'podline' },
  });
}
