/**
 * What lines cost and what there is for them: the machine on a laptop, ResourceQuota and LimitRange in a cluster.
 *
 * Amounts are exact: whole nano-units (`line/quantity.ts`), by name of the resource: `cpu` in cores, `memory` in bytes, others in pieces.
 */
import type { Pipeline } from './manifest.js';

/** Nano-units: 1n is 10⁻⁹ of a core, a byte or a device. */
export type Amount = bigint;
export type Amounts = Readonly<Record<string, Amount>>;

export interface Quota {
  /** As it stands in sentences: `ResourceQuota team-a`, `the pipeline’s quota`, `this machine`. */
  name: string;
  hard: Amounts;
  /** What is used of it by anything but lines of the pipelines that share it. */
  usedByOthers: Amounts;
}

export interface LineCost {
  /** R_line, under the names that the quotas use. */
  perLine: Amounts;
  /** Why not even one line could be there, whatever the quotas say. */
  refusals: readonly string[];
}

export interface Capacity {
  /** What one line of the pipeline takes. */
  costOf(pipeline: Pipeline): LineCost;
  /** Pipelines of different scopes share nothing: namespaces of a cluster. Without it, there is one. */
  scopeOf?(pipeline: string): string;
  /** The quotas that all pipelines of a scope share, as they are now. */
  quotas(scope?: string): readonly Quota[];
  /** Called when any of that may have changed. Returns what ends the subscription. */
  subscribe(listener: () => void): () => void;
}

/** What an autoscaler other than Podline’s own is told, whenever it changes. */
export interface Ceiling {
  pipeline: string;
  group: string;
  /** Name of the workload: the StatefulSet. */
  workload: string;
  /** The most lines that there may be: W_max, or the fair share of it. */
  linesMax: number;
  linesMin: number;
  /** One line is wanted for so many shards, waiting or in work. */
  shardsPerLine: number;
  /** W_max, in words. */
  because: string;
}

/** Who says how many lines a pipeline is to have, as far as the quotas allow. */
export type Wanted =
  /** Its `scaling`, and the work that there is. */
  | { by: 'demand' }
  /** So many in all, in groups where there is work. */
  | { by: 'number'; lines: number }
  /** So many of each group. */
  | { by: 'group'; lines: Readonly<Record<string, number>> }
  /** An autoscaler that asks for so many of the group `default`; the other groups go by demand. */
  | { by: 'autoscaler'; lines: number };

/** Scales lines by itself, or asks for so many, within the ceiling: an HPA, KEDA, a cloud’s scaling group. */
export interface Autoscaler {
  /** `hpa`, `command`, `webhook`: for logs. */
  readonly kind: string;
  /** Resolves when it was told. May be called again with the same. */
  tell(ceiling: Ceiling): Promise<void>;
  /** Sets what it asks for: the step between no line and one, where it asks through something that others may set too. */
  ask?(pipeline: string, lines: number): Promise<void>;
  /** The workload is another coordinator's business, or nobody's: what it was not told yet it is not told any more. */
  leave?(workload: string): void;
  close(): Promise<void>;
}
