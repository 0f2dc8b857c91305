/**
 * The HorizontalPodAutoscaler of a pipeline's lines: what it looks at, how fast it goes up and down, and W_max as its ceiling. Pure.
 *
 * It scales the pipeline's resource, not its StatefulSet: what it asks for goes through the coordinator, which drains a line before it ends.
 */
import type { Ceiling } from '../contracts/capacity.js';
import type { ScalingSpec } from '../contracts/flow-spec.js';
import { parseDurationMs } from '../config/units.js';
import { apiVersionOf } from './resources.js';
import type { KubeObject } from './kube-rest.js';

export const queueMetric = 'podline_queue_depth';

/** What the API server takes. */
const periodSecondsMax = 1_800;
const windowSecondsMax = 3_600;

/**
 * An HPA of at least one line: it does not know zero, and rests while the resource is scaled to it. Nor does it take a ceiling of zero.
 * `name`: of the pipeline's resource.
 */
export function planHpa(
  name: string,
  { pipeline, group, linesMax, linesMin, shardsPerLine, because }: Ceiling,
  scaling: Pick<ScalingSpec, 'stabilization' | 'downShare' | 'downEvery'>,
): KubeObject {
  const maxReplicas = Math.max(1, linesMax);
  const seconds = (duration: string, most: number): number =>
    Math.min(most, Math.max(1, Math.round(parseDurationMs(duration) / 1_000)));
  return {
    apiVersion: apiVersionOf('HorizontalPodAutoscaler'),
    kind: 'HorizontalPodAutoscaler',
    metadata: { name, annotations: { 'podline.dev/w-max': `${String(linesMax)} ${because}` } },
    spec: {
      scaleTargetRef: { apiVersion: apiVersionOf('Pipeline'), kind: 'Pipeline', name },
      minReplicas: Math.min(Math.max(1, linesMin), maxReplicas),
      maxReplicas,
      metrics: [
        {
          type: 'External',
          external: {
            metric: { name: queueMetric, selector: { matchLabels: { pipeline, group } } },
            target: { type: 'AverageValue', averageValue: String(shardsPerLine) },
          },
        },
      ],
      behavior: {
        scaleUp: {
          stabilizationWindowSeconds: 0,
          selectPolicy: 'Max',
          policies: [
            { type: 'Percent', value: 900, periodSeconds: 15 },
            { type: 'Pods', value: 10, periodSeconds: 15 },
          ],
        },
        scaleDown: {
          stabilizationWindowSeconds: seconds(scaling.stabilization, windowSecondsMax),
          selectPolicy: 'Max',
          policies: [
            {
              type: 'Percent',
              value: Math.max(1, Math.round(scaling.downShare * 100)),
              periodSeconds: seconds(scaling.downEvery, periodSecondsMax),
            },
          ],
        },
      },
    },
  };
}
