/** The pods of one namespace, as `PodSwapper` asks for them. */
import { viewOf, type Kube } from './kube.js';
import { isStatus, patchType, type KubeRest } from './kube-rest.js';
import { objectPath } from './resources.js';

export function podsOf(rest: KubeRest, namespace: string): Pick<Kube, 'pod' | 'patchPod'> {
  const path = (name: string): string => objectPath('Pod', { namespace, name });
  return {
    pod: async (name) => {
      try {
        return viewOf(await rest.request('GET', path(name)));
      } catch (thrown) {
        if (isStatus(thrown, 404)) return undefined;
        throw thrown;
      }
    },
    patchPod: async (name, body) =>
      viewOf(
        await rest.request('PATCH', path(name), {
          body,
          contentType: patchType.strategic,
          query: { fieldManager: 'podline' },
        }),
      ),
  };
}
