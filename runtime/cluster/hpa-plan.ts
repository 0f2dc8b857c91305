/**
 * The HorizontalPodAutoscaler of a group of lines: what it looks at, how fast it goes up and down, and W_max as its ceiling. Pure.
 */
import type { Ceiling } from '../contracts/capacity.js';
import { labels } from './names.js';

export const queueMetric = 'podline_queue_depth';

export interface HpaOptions {
  namespace: string;
  /** Whose StatefulSet it scales. */
  apiVersion: 'apps.kruise.io/v1beta1' | 'apps/v1';
  stabilizationSeconds: number;
  downPercent: number;
  downPeriodSeconds: number;
}

/** An HPA of at least one line: it does not know zero, and rests while the workload is scaled to it. Nor does it take a ceiling of zero. */
export function planHpa(
  { workload, pipeline, group, linesMax, linesMin, shardsPerLine, because }: Ceiling,
  options: HpaOptions,
): Record<string, unknown> {
  const maxReplicas = Math.max(1, linesMax);
  return {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: {
      name: workload,
      namespace: options.namespace,
      labels: { [labels.pipeline]: pipeline, [labels.managedBy]: 'podline' },
      annotations: { 'podline.dev/w-max': `${String(linesMax)} ${because}` },
    },
    spec: {
      scaleTargetRef: { apiVersion: options.apiVersion, kind: 'StatefulSet', name: workload },
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
          stabilizationWindowSeconds: options.stabilizationSeconds,
          selectPolicy: 'Max',
          policies: [{ type: 'Percent', value: options.downPercent, periodSeconds: options.downPeriodSeconds }],
        },
      },
    },
  };
}
