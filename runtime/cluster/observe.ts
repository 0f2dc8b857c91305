/** What is to be seen of a pipeline now: from the journal, from lines, from pods. Reads, and changes nothing. */
import { formatBytes } from '../config/units.js';
import type { LineView } from '../contracts/views.js';
import type { Desk } from './desk.js';
import type { Known } from './intake.js';
import type { KubeObject } from './kube-rest.js';
import type { LinePods, SeenLine } from './line-pods.js';
import { isAgentOf } from './names.js';
import { selectorOf, type Workloads } from './plan-pod.js';
import type { GroupLines } from './plan-objects.js';
import type { Refusal } from './resolve.js';
import type { Observed } from './status.js';

export interface ObserveOptions {
  desk: Pick<Desk, 'pipeline' | 'lines' | 'list'>;
  pods: Pick<LinePods, 'linesOf'>;
  workload: Workloads;
}

/** What a look at a pipeline has come to so far. */
export interface Looked {
  /** Absent until the pipeline was taken in. */
  known: Known | undefined;
  /** How many lines there are to be. */
  targets: readonly GroupLines[];
  refusal: Refusal | undefined;
  /** Pods that were created from an earlier template. */
  outdated: readonly string[];
}

/** `heardBefore`: lines that another coordinator had heard of a moment ago; this one has just begun, and they have not said hello to it yet. */
export async function observe(
  { desk, pods, workload }: ObserveOptions,
  { metadata }: KubeObject,
  { known, targets, refusal, outdated, heardBefore = 0 }: Looked & { heardBefore?: number | undefined },
): Promise<Observed> {
  const name = known?.pipeline.name ?? '';
  const seen = pods.linesOf(name);
  const there = new Map(seen.map(({ line, uid }) => [line, uid]));
  // An agent of the pod before may have been heard a moment ago: it says nothing of this one.
  const isHere = ({ line, instance }: LineView): boolean => isAgentOf(instance, there.get(line) ?? '');
  const views = known === undefined ? [] : await desk.lines();
  const active = views.filter((line) => line.pipeline === name && line.state === 'active' && isHere(line));
  const running = active.flatMap(({ shards }) => shards.flatMap((shard) => shard.running.map(({ stage }) => stage)));
  const progress = known === undefined ? undefined : await progressOf(desk, name);
  return {
    generation: metadata.generation ?? 0,
    refusal: refusal === undefined ? undefined : { reason: refusal.reason, message: refusal.message, final: !refusal.isPassing },
    accepted: progress === undefined ? undefined : { ...progress.accepted, running },
    lines: {
      wanted: targets.reduce((sum, { lines }) => sum + lines, 0),
      whyNone: progress?.whyNone,
      there: seen.length,
      heard: Math.max(active.length, Math.min(heardBefore, seen.length)),
      faults: seen.flatMap(({ pod, faults }) => faults.map((fault) => `${pod}: ${fault.message}`)),
      unschedulable: wordsOf(seen, ({ unschedulable }) => unschedulable),
      resizePending: wordsOf(seen, ({ resizePending }) => resizePending),
      outdated,
    },
    input: inputOf(known),
    selector: Object.entries(selectorOf(metadata.name))
      .map(([label, value]) => `${label}=${value}`)
      .join(','),
    workload,
    memory: known === undefined ? undefined : memoryOf(known),
  };
}

/** With the name of each pod of which there are any. */
const wordsOf = (seen: readonly SeenLine[], of: (line: SeenLine) => string | undefined): string[] =>
  seen.flatMap((line) => {
    const words = of(line);
    return words === undefined ? [] : [`${line.pod}: ${words}`];
  });

function inputOf(known: Known | undefined): Observed['input'] {
  if (known === undefined || known.manifest.spec.input.source === undefined) return { state: 'none' };
  const { submission } = known;
  if (submission?.state !== 'done') return { state: 'open' };
  return { state: 'submitted', digest: submission.digest, submitted: submission.submitted };
}

async function progressOf(
  desk: Pick<Desk, 'pipeline' | 'list'>,
  name: string,
): Promise<{ accepted: Omit<NonNullable<Observed['accepted']>, 'running'>; whyNone: string | undefined }> {
  const { revision, paused, counts, flow, pace } = await desk.pipeline(name);
  const [failed] = counts.failed === 0 ? [] : (await desk.list(name, { state: 'failed', max: 1 })).shards;
  const { error } = failed ?? {};
  const failure = error === undefined ? undefined : `${failed?.key ?? ''}: ${error.message} (${error.code}). ${error.hint}`;
  return {
    accepted: { revision, paused, counts, pace, failure },
    whyNone: flow?.linesMax === 0 ? `W_max is 0 ${flow.because}` : undefined,
  };
}

function memoryOf({ size: { stages, podBytes } }: Known): Observed['memory'] {
  return { peak: formatBytes(stages.peak.memoryBytes), sum: formatBytes(stages.sum.memoryBytes), pod: formatBytes(podBytes) };
}
