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

export const pipelineOf = (stages: ResolvedStage[], results?: string[], revision = 1): LinePipeline => ({
  revision,
  stages,
  spec: { result: { stages: results } },
});

export const chainOf = (length: number, more: Partial<ResolvedStage> = {}): ResolvedStage[] =>
  Array.from({ length }, (_, at) => stage(`s${String(at)}`, at === 0 ? ['input'] : [`s${String(at - 1)}`], more));

/** One stage, `width` beside each other, one that joins them. */
export const diamondOf = (width: number, more: Partial<ResolvedStage> = {}): ResolvedStage[] => {
  const arms = Array.from({ length: width }, (_, at) => `arm${String(at)}`);
  return [stage('split', ['input'], more), ...arms.map((arm) => stage(arm, ['split'], more)), stage('join', arms, more)];
};

/** A stage more, one stage in another version, or the last stage gone. `isValid`: what is as it was before. */
export function randomRevision(
  random: Random,
  { stages, revision }: LinePipeline,
): { pipeline: LinePipeline; isValid: (stage: string) => boolean } {
  const next = [...stages];
  const at = random.int(0, stages.length - 1);
  const chosen = next[at];
  if (chosen === undefined) throw new Error('a pipeline without stages');
  const changed = new Set<string>();
  const kind = random.int(0, 2);
  if (kind === 0) next.push(stage(`extra${String(revision)}`, [random.chance(0.3) ? 'input' : chosen.name]));
  else if (kind === 1) {
    next[at] = { ...chosen, version: `version-${String(revision)}-of-${chosen.name}` };
    changed.add(chosen.name);
  } else if (next.length > 1) changed.add(next.pop()?.name ?? '');
  for (const { name, after } of next) if (after.some((stream) => changed.has(stream))) changed.add(name);
  return { pipeline: pipelineOf(next, undefined, revision + 1), isValid: (name) => !changed.has(name) };
}

/** Each stage reads one to three of the streams before it. */
export function randomGraph(random: Random, length: number): ResolvedStage[] {
  const stages: ResolvedStage[] = [];
  for (let at = 0; at < length; at += 1) {
    const after = new Set<string>();
    for (let inputs = random.int(1, 3); inputs > 0; inputs -= 1) {
      const back = at - random.int(1, 4);
      after.add(back < 0 ? 'input' : `s${String(back)}`);
    }
    stages.push(
      stage(`s${String(at)}`, [...after], {
        bound: random.chance(0.3) ? 'io' : 'cpu',
        timeoutMs: random.chance(0.3) ? 60_000 : undefined,
      }),
    );
  }
  return stages;
}

/** The same stages as TypeScript stages of various forms, so that most of them may lead or follow. */
export const withForms = (random: Random, stages: readonly ResolvedStage[]): ResolvedStage[] =>
  stages.map((given) => {
    const form = (['block', 'row', 'bytes', 'block', 'aggregate', 'files'] as const)[random.int(0, 5)] ?? 'block';
    return random.chance(0.1) ? given : { ...given, declares: { form, keep: 'all' } };
  });
