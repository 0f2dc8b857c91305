/** Kubernetes' own autoscaler: told W_max as `maxReplicas` of an HPA per group. Where that is 0, it is the coordinator that scales to none. */
import type { Autoscaler, Ceiling } from '../contracts/capacity.js';
import { planHpa, type HpaOptions } from './hpa-plan.js';

export interface KubeWriter {
  request<T>(
    method: 'PATCH',
    path: string,
    options: { query?: Record<string, string | undefined>; body?: unknown; contentType?: string },
  ): Promise<T>;
}

export interface HpaAutoscalerOptions {
  rest: KubeWriter;
  /** What the manifest says of going down. */
  optionsOf: (pipeline: string) => HpaOptions;
}

export function openHpaAutoscaler({ rest, optionsOf }: HpaAutoscalerOptions): Autoscaler {
  return {
    kind: 'hpa',
    async tell(ceiling: Ceiling): Promise<void> {
      const options = optionsOf(ceiling.pipeline);
      const path = `/apis/autoscaling/v2/namespaces/${options.namespace}/horizontalpodautoscalers/${ceiling.workload}`;
      await rest.request('PATCH', path, {
        query: { fieldManager: 'podline', force: 'true' },
        body: planHpa(ceiling, options),
        contentType: 'application/apply-patch+yaml',
      });
    },
    close: async () => undefined,
  };
}
