/** Workload (e) by runner: what table and picture are made of. Pure. */
import type { SmallResult, SmallSample } from './results.js';

export interface SmallRow {
  name: string;
  title: string;
  isVoid: boolean;
  /** Of all rounds. */
  shardMs: number[];
  /** Of each shard: its load and its stages. */
  lineMs: number[];
  samples: SmallSample[];
}

/** Those who were measured. */
export function smallRowsOf({ runners, samples }: SmallResult): SmallRow[] {
  return runners.flatMap(({ name, title }) => {
    const own = samples.filter(({ runner }) => runner === name);
    if (own.length === 0) return [];
    const lineMs = own.flatMap(({ spanMs, loadMs }) => spanMs.map((span, index) => span + (loadMs[index] ?? 0)));
    const shardMs = own.flatMap((sample) => sample.shardMs);
    return [{ name, title, isVoid: own.some(({ isVoid }) => isVoid), shardMs, lineMs, samples: own }];
  });
}
