/** What a reconciler is made of. */
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import type { Desk, SplitInput } from './desk.js';
import type { ImageCode } from './image-code.js';
import type { KubeRest } from './kube-rest.js';
import type { LinePods } from './line-pods.js';
import type { PlanOptions } from './plan-objects.js';
import type { Workloads } from './plan-pod.js';
import type { Quotas } from './quotas.js';

/** The installation's settings for lines. */
export interface LineSettings extends Omit<
  PlanOptions,
  'name' | 'namespace' | 'groups' | 'slots' | 'lineSuffix' | 'owner' | 'workload' | 'ceiling'
> {
  cores: number;
  /** Where results of a manifest lie whose `result.dir` is relative. */
  resultRoot: string;
  /** The authority of the coordinator's certificate, PEM, where agents would not trust it otherwise. */
  authority?: string | undefined;
}

export interface ReconcilerOptions {
  rest: KubeRest;
  desk: Desk;
  split: SplitInput;
  pods: LinePods;
  code: ImageCode;
  /** The coordinator's own. */
  namespace: string;
  /** One namespace, or all without it. */
  watched: string | undefined;
  workload: Workloads;
  lines: LineSettings;
  /** Followed for each pipeline. */
  quotas: Pick<Quotas, 'follow' | 'forget'>;
  autoscaling: 'podline' | 'hpa' | 'other';
  clock: Clock;
  /** [0, 1) */
  random: () => number;
  logger: Logger;
}
