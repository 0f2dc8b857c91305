/**
 * Kubernetes' own autoscaler: told W_max as `maxReplicas` of an HPA of the pipeline's resource, it asks for lines through that resource's
 * `spec.lines`, as `kubectl scale` does. The coordinator starts them, and drains those that go.
 */
import type { Autoscaler, Ceiling } from '../contracts/capacity.js';

/** Who keeps the objects of pipelines. */
export interface HpaKeeper {
  /** The pipeline is to have an HPA with this ceiling. */
  setCeiling(ceiling: Ceiling): void;
  /** Sets `spec.lines`. */
  scale(pipeline: string, lines: number): Promise<void>;
}

/** `keeper`: undefined while this coordinator does not lead. */
export function openHpaAutoscaler(keeper: () => HpaKeeper | undefined): Autoscaler {
  return {
    kind: 'hpa',
    async tell(ceiling) {
      keeper()?.setCeiling(ceiling);
    },
    async ask(pipeline, lines) {
      await keeper()?.scale(pipeline, lines);
    },
    close: async () => undefined,
  };
}
