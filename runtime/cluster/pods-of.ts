/** The pods of one namespace, as `PodSwapper` asks for them. */
import { viewOf } from './kube.js';
import { isStatus, patchType, type KubeRest } from './kube-rest.js';
import { fieldManager } from './object-writer.js';
import type { PodSwapperOptions } from './pod-swapper.js';
import { objectPath } from './resources.js';
import type { PodView } from './verdict.js';

export function podsOf(rest: KubeRest, namespace: string): PodSwapperOptions['kube'] {
  const path = (name: string): string => objectPath('Pod', { namespace, name });
  const patch = async (at: string, body: Record<string, unknown>): Promise<PodView> =>
    viewOf(await rest.request('PATCH', at, { body, contentType: patchType.strategic, query: { fieldManager } }));
  return {
    pod: async (name) => {
      try {
        return viewOf(await rest.request('GET', path(name)));
      } catch (thrown) {
        if (isStatus(thrown, 404)) return undefined;
        throw thrown;
      }
    },
    patchPod: (name, body) => patch(path(name), body),
    resizePod: (name, body) => patch(`${path(name)}/resize`, body),
  };
}
