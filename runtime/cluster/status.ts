/**
 * From what is seen of a pipeline to the status of its resource, and from two statuses to the events between them. Pure.
 *
 * Invariants
 *  1. Nothing in it changes while nothing changes: no ages, no times but those of transitions. So it is written only when it says
 *     something new.
 *  2. `Complete` is Unknown while there is work, so that `kubectl wait` may wait for either end:
 *     `--for=condition=Complete` and `--for=condition=Complete=False`.
 *  3. A pace is said while shards are open, along with what else is new, and by itself only when a pause begins or ends: batch and words
 *     change all the time, also where nothing happens.
 *  4. A message of what went wrong names the first thing and its way out.
 */
import { canonicalJson } from '../line/lineage.js';
import type { Counts, PaceView } from '../contracts/views.js';
import {
  conditionTypes,
  type Condition,
  type ConditionReason,
  type ConditionType,
  type PipelineStatus,
} from '../contracts/pipeline-status.js';
import type { KubeObject } from './kube-rest.js';

export interface Observed {
  generation: number;
  /** Why the resource as it is cannot be worked on. `final`: it will not pass by itself. */
  refusal?: { reason: ConditionReason; message: string; final: boolean } | undefined;
  /** Of what the journal has; absent until the pipeline was taken in for the first time. */
  accepted?:
    | {
        revision: number;
        counts: Counts;
        paused: boolean;
        /** Of its submitters, at present. */
        pace?: PaceView | undefined;
        /** Stages that run now, somewhere. */
        running: readonly string[];
        /** The first shard that failed, in words. */
        failure?: string | undefined;
      }
    | undefined;
  lines: {
    wanted: number;
    /** Why there may be none, where that is so. */
    whyNone?: string | undefined;
    /** Pods. */
    there: number;
    /** Agents that were heard of lately. */
    heard: number;
    /** What keeps lines or slots from working, in words. */
    faults: readonly string[];
    /** Pods for which there is no node, in the scheduler's words. */
    unschedulable: readonly string[];
    /** Pods that do not have what the stages in their slots ask for, in the kubelet's words. */
    resizePending: readonly string[];
    /** Pods that were created from an earlier template than there is now. */
    outdated: readonly string[];
  };
  /** `open`: there is one, and not all of it is in the journal. */
  input: { state: 'none' | 'open' } | { state: 'submitted'; digest: string; submitted: number };
  selector: string;
  workload: 'kruise' | 'native';
  memory?: PipelineStatus['memory'];
}

export const statusOf = ({ status }: KubeObject): PipelineStatus | undefined => status as PipelineStatus | undefined;

type Verdict = Pick<Condition, 'status' | 'reason' | 'message'>;
/** Where the scheduler speaks of a claim that is not bound, or bound to storage on another node. */
const wordsOfStorage = /persistent ?volume|volume node affinity/i;
const messageMax = 1_024;
const namedStagesMax = 3;

/** `now`: wall time, for transitions. */
export function planStatus(observed: Observed, before: PipelineStatus | undefined, now: string): PipelineStatus {
  const { accepted, lines, input, generation } = observed;
  const verdicts: Record<ConditionType, Verdict> = {
    Ready: ready(observed),
    Progressing: progressing(observed),
    Degraded: degraded(observed),
    Complete: complete(observed),
  };
  const conditions = conditionTypes.map((type): Condition => {
    const { message, ...verdict } = verdicts[type];
    const was = before?.conditions?.find((condition) => condition.type === type);
    return {
      type,
      ...verdict,
      message: message.length > messageMax ? `${message.slice(0, messageMax)}…` : message,
      observedGeneration: generation,
      lastTransitionTime: was?.status === verdict.status ? was.lastTransitionTime : now,
    };
  });
  const counts = accepted?.counts;
  const after: PipelineStatus = {
    observedGeneration: generation,
    conditions,
    replicas: lines.there,
    readyLines: Math.min(lines.heard, lines.there),
    selector: observed.selector,
    workload: observed.workload,
    ...(accepted === undefined ? {} : { revision: accepted.revision, stage: stageWords(accepted.running) }),
    ...(counts === undefined ? {} : { shards: { total: totalOf(counts), ...counts } }),
    ...(input.state === 'submitted' ? { input: { digest: input.digest, submitted: input.submitted } } : {}),
    ...(observed.memory === undefined ? {} : { memory: observed.memory }),
  };
  const pace = paceOf(accepted, before, after);
  return pace === undefined ? after : { ...after, pace };
}

/** `after`: all else that is to be said. */
function paceOf(
  accepted: Observed['accepted'],
  before: PipelineStatus | undefined,
  after: PipelineStatus,
): PipelineStatus['pace'] {
  if (accepted?.pace === undefined || openOf(accepted.counts) === 0) return undefined;
  const { batch, pause, why } = accepted.pace;
  const { pace: said, ...rest } = before ?? {};
  const isNew = (said?.pause ?? 'none') !== pause || canonicalJson(rest) !== canonicalJson(after);
  return isNew ? { batch, pause, why } : said;
}

const totalOf = ({ pending, running, completed, failed, cancelled }: Counts): number =>
  pending + running + completed + failed + cancelled;
const openOf = ({ pending, running }: Counts): number => pending + running;
const say = (status: Condition['status'], reason: ConditionReason, message: string): Verdict => ({ status, reason, message });
const some = (count: number, one: string): string => `${String(count)} ${one}${count === 1 ? '' : 's'}`;

/** In the order of their names, so that the same stages are the same words. */
function stageWords(running: readonly string[]): string {
  const names = [...new Set(running)].sort();
  const more = names.length - namedStagesMax;
  return more > 0 ? `${names.slice(0, namedStagesMax).join(',')} +${String(more)}` : names.join(',');
}

function ready({ refusal, lines }: Observed): Verdict {
  if (refusal !== undefined) return say('False', refusal.reason, refusal.message);
  if (lines.wanted === 0)
    return say('False', 'NoLines', `no lines are wanted: ${lines.whyNone ?? 'spec.lines is 0, or there is nothing to do'}`);
  const heard = Math.min(lines.heard, lines.there);
  if (heard >= lines.wanted) return say('True', 'LinesReady', `${some(lines.wanted, 'line')} ready`);
  return say('False', 'LinesStarting', `${String(heard)} of ${some(lines.wanted, 'line')} ready`);
}

function progressing(observed: Observed): Verdict {
  const { refusal, accepted, lines, input } = observed;
  if (refusal !== undefined) return say('False', refusal.reason, refusal.message);
  if (accepted?.paused === true) return say('False', 'Paused', 'the pipeline is paused: nothing of it is given to lines');
  if (input.state === 'open') return say('True', 'Submitting', 'the input is split into shards');
  const open = accepted === undefined ? 0 : openOf(accepted.counts);
  const [reason] = [...lines.faults, ...lines.unschedulable];
  if (open > 0 && lines.heard === 0 && reason !== undefined)
    return say('False', 'Stuck', `${some(open, 'shard')} waiting, and no line works: ${reason}`);
  if (open > 0 && lines.heard > 0) return say('True', 'Working', 'shards are worked on');
  if (lines.heard < lines.wanted) return say('True', 'LinesStarting', 'lines are on their way');
  return say('False', 'Idle', 'there is nothing to do');
}

function degraded({ refusal, accepted, lines }: Observed): Verdict {
  if (refusal !== undefined) return say('True', refusal.reason, refusal.message);
  const [fault] = lines.faults;
  if (fault !== undefined) return say('True', 'SwapFailed', fault);
  const [unschedulable] = lines.unschedulable;
  if (unschedulable !== undefined)
    return say('True', wordsOfStorage.test(unschedulable) ? 'VolumePending' : 'Unschedulable', unschedulable);
  if (accepted !== undefined && accepted.counts.failed > 0) return say('True', 'ShardsFailed', failedWords(accepted));
  const [resizePending] = lines.resizePending;
  if (resizePending !== undefined) return say('True', 'ResizePending', resizePending);
  if (lines.outdated.length > 0) return say('True', 'LinesOutdated', outdatedWords(lines.outdated));
  return say('False', 'AsExpected', 'nothing is amiss');
}

function complete({ refusal, accepted, input }: Observed): Verdict {
  const open = accepted === undefined ? 0 : openOf(accepted.counts);
  if (refusal?.final === true && open === 0) return say('False', refusal.reason, refusal.message);
  if (refusal !== undefined && open === 0) return say('Unknown', refusal.reason, refusal.message);
  if (accepted === undefined || input.state === 'open')
    return say('Unknown', 'ShardsOpen', 'the input is not in the journal yet');
  const { counts } = accepted;
  if (open > 0) return say('Unknown', 'ShardsOpen', 'shards are open');
  if (counts.failed > 0) return say('False', 'ShardsFailed', failedWords(accepted));
  if (counts.completed === 0) return say('Unknown', 'NoShards', 'no shard was submitted');
  return say('True', 'ShardsCompleted', `${some(counts.completed, 'shard')} delivered`);
}

const failedWords = ({ counts, failure }: { counts: Counts; failure?: string | undefined }): string =>
  `${some(counts.failed, 'shard')} failed${failure === undefined ? '' : `; the first: ${failure}`}`;

/** A line that is told to end keeps what it has done, so there is no wrong moment. */
function outdatedWords([first = '', ...more]: readonly string[]): string {
  const others = more.length === 0 ? '' : ` (and ${some(more.length, 'other pod')})`;
  return `${first}${others} was created before the template of the pods changed, and stays as it was: delete the pod, and its line goes on in a new one`;
}

export interface PlannedEvent {
  type: 'Normal' | 'Warning';
  reason: ConditionReason;
  note: string;
}

/** Which of two conditions says it, where both changed for one reason. */
const told: readonly ConditionType[] = ['Ready', 'Degraded', 'Complete', 'Progressing'];

/** What somebody who reads `kubectl describe` wants to know of the change. */
export function eventsBetween(before: PipelineStatus | undefined, after: PipelineStatus): PlannedEvent[] {
  const events = new Map<ConditionReason, PlannedEvent>();
  for (const type of told) {
    const is = after.conditions?.find((condition) => condition.type === type);
    const was = before?.conditions?.find((condition) => condition.type === type);
    if (is === undefined || (was?.status === is.status && was.reason === is.reason)) continue;
    const bad =
      (type === 'Degraded' && is.status === 'True') || (type === 'Complete' && is.status === 'False') || is.reason === 'Stuck';
    const worth = bad || is.status === 'True' || is.reason === 'Paused';
    if (worth && !events.has(is.reason))
      events.set(is.reason, { type: bad ? 'Warning' : 'Normal', reason: is.reason, note: is.message });
  }
  return [...events.values()];
}
