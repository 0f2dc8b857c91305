/** What must be done before a resource may go: the coordinator forgets the pipeline and its shards. Its objects go by their owner. */
import { isPodlineError } from '../contracts/errors.js';
import type { Desk } from './desk.js';
import { patchType, type KubeObject, type KubeRest } from './kube-rest.js';
import { objectPath } from './resources.js';

export const finalizer = 'podline.dev/journal';

export async function putFinalizer(rest: KubeRest, { metadata }: KubeObject): Promise<void> {
  const finalizers = metadata.finalizers ?? [];
  if (!finalizers.includes(finalizer)) await setFinalizers(rest, metadata, [...finalizers, finalizer]);
}

/** Deletes the pipeline from the journal, open shards and all, and lets the resource go. Done again after a crash, it goes on. */
export async function endPipeline(
  rest: KubeRest,
  desk: Pick<Desk, 'deletePipeline'>,
  name: string,
  { metadata }: KubeObject,
): Promise<void> {
  const finalizers = metadata.finalizers ?? [];
  if (!finalizers.includes(finalizer)) return;
  await desk.deletePipeline(name, { cancel: true }).catch((thrown: unknown) => {
    // It was never taken in, or is gone already.
    if (!isPodlineError(thrown, 'PDL_PIPELINE_UNKNOWN')) throw thrown;
  });
  await setFinalizers(
    rest,
    metadata,
    finalizers.filter((other) => other !== finalizer),
  );
}

/** With the version that was seen: somebody else's finalizer that came meanwhile is not lost. */
async function setFinalizers(rest: KubeRest, metadata: KubeObject['metadata'], finalizers: string[]): Promise<void> {
  await rest.request('PATCH', objectPath('Pipeline', metadata), {
    body: { metadata: { resourceVersion: metadata.resourceVersion, finalizers } },
    contentType: patchType.merge,
    query: { fieldManager: 'podline' },
  });
}
