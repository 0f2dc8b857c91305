/** Graphs to simulate, as lines get them. */
import type { ResolvedStage } from '../../runtime/contracts/manifest.js';
import type { LinePipeline } from '../../runtime/line/types.js';
import type { Random } from './random.js';

export function stage(name: string, after: string[] = ['input'], more: Partial<ResolvedStage> = {}): ResolvedStage {
  return {
    name,
    after,
    combine: 'zip',
    stdio: 'files',
    output: 'table',
    executor: 'thread',
    bound: 'cpu',
    workers: 'auto',
    parameters: {},
    retries: 2,
    resources: {},
    version: `version-of-${name}`,
    ...more,
  };
}

export const pipelineOf = (stages: ResolvedStage[], results?: string[], revision = 1): LinePipeline => ({ revision, stages, spec: { result: { stages: results } } });

export const chainOf = (length: number, more: Partial<ResolvedStage> = {}): ResolvedStage[] =>
  Array.from({ length }, (_, at) => stage(`s${String(at)}`, at === 0 ? ['input'] : [`s${String(at - 1)}`], more));

/** One stage, `width` beside each other, one that joins them. */
export const diamondOf = (width: number, more: Partial<ResolvedStage> = {}): ResolvedStage[] => {
  const arms = Array.from({ length: width }, (_, at) => `arm${String(at)}`);
  return [stage('split', ['input'], more), ...arms.map((arm) => stage(arm, ['split'], more)), stage('join', arms, more)];
};

/** Each stage reads one to three of the streams before it. */
export function randomGraph(random: Random, length: number): ResolvedStage[] {
  const stages: ResolvedStage[] = [];
  for (let at = 0; at < length; at += 1) {
    const after = new Set<string>();
    for (let inputs = random.int(1, 3); inputs > 0; inputs -= 1) {
      const back = at - random.int(1, 4);
      after.add(back < 0 ? 'input' : `s${String(back)}`);
    }
    stages.push(stage(`s${String(at)}`, [...after], { bound: random.chance(0.3) ? 'io' : 'cpu', timeoutMs: random.chance(0.3) ? 60_000 : undefined }));
  }
  return stages;
}
