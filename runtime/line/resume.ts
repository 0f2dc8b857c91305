/**
 * Resume: where each stream of a shard is taken from, and why, in words.
 *
 * Pure. It is given what the scratch, the SSD and the volume hold of a shard and the lineages that are wanted
 * now, and says of every stream: it stays (scratch), is restored (from SSD or volume), is made (again), or is
 * not needed because what reads it is done. `checkpoints/recovery.ts` carries it out.
 *
 * Invariants
 *  1. A stream is taken only where its lineage digest equals the wanted one.
 *  2. A sealed stream goes before a partial one, more progress before less, a nearer place before a farther one.
 *  3. A partial stream is taken only with its progress: how much of the input its blocks stand for.
 *  4. A stream that is made or goes on has all its inputs kept, restored or made; results are always there in the end.
 *  5. A stream that lacks columns which its readers, or those behind them, need now is not taken: they were given back when nothing
 *     needed them, and a stage was added since.
 *  6. Every decision says why; what was found and not used says why too.
 */
import { inputStream, type Lineage } from '../contracts/block.js';
import { topologicalOrder } from './graph.js';
import { explainDifference } from './lineage.js';
import { neededColumns, needs, type ReadingStage } from './live-columns.js';
import type { KnownStream, Lineages } from './types.js';

export type HoldingPlace = 'scratch' | 'ssd' | 'volume';
export const holdingPlaces: readonly HoldingPlace[] = ['scratch', 'ssd', 'volume'];

/** A stream as a place holds it. */
export interface HeldStream {
  stream: string;
  lineage: Lineage;
  sealed: boolean;
  blocks: number;
  rows: number;
  /** Bytes that a restore would have to move for it. */
  bytes: number;
  /** Input blocks that it stands for; absent: unknown, and then a partial stream is not used. */
  consumed?: number | undefined;
  /** Columns of which it has no data any more (`ColumnRef.freed` in any block). */
  freed?: readonly string[] | undefined;
}

/** What one place holds of a shard, and what it holds but cannot give. */
export interface Holding {
  streams: HeldStream[];
  /** In words: checkpoints that were found and not used. */
  refused: string[];
}

export interface ResumeQuestion {
  stages: readonly ReadingStage[];
  /** Streams that are the result. */
  results: Iterable<string>;
  wanted: Lineages;
  held: Partial<Record<HoldingPlace, Holding>>;
  /** This stage, and what follows it, runs again whatever is held. */
  resumeFrom?: string | undefined;
}

export type StreamDecision =
  /** As it stands in the scratch. */
  | { action: 'keep'; stream: string; sealed: boolean; blocks: number; why: string }
  | { action: 'restore'; stream: string; from: 'ssd' | 'volume'; sealed: boolean; blocks: number; bytes: number; why: string }
  /** From the source (`input`) or by running the stage from its beginning. */
  | { action: 'make'; stream: string; why: string }
  /** What reads it is done. */
  | { action: 'skip'; stream: string; why: string };

export interface ResumePlan {
  /** One for each stream, inputs before their readers. */
  decisions: StreamDecision[];
  /** Streams of the scratch that must go: another lineage, or in the way of a better copy. */
  drop: string[];
  /** What was found and not used, in words, by stream; `''` for what is said of a place as a whole. */
  refused: { stream: string; place: HoldingPlace; why: string }[];
  /** The farthest place that something is taken from; `source` when nothing is. */
  resumedFrom: 'source' | 'scratch' | 'ssd' | 'volume';
}

/** Decides for every stream of a shard. Deterministic; the order of `stages` need not be topological. */
export function planResume(question: ResumeQuestion): ResumePlan {
  const order = inputsFirst(question.stages);
  const again =
    question.resumeFrom === undefined ? new Set<string>() : withWhatFollows(question.resumeFrom, question.stages, order);
  const refused: ResumePlan['refused'] = [];
  for (const place of holdingPlaces) {
    for (const why of question.held[place]?.refused ?? []) refused.push({ stream: '', place, why });
  }

  const usable = new Map(order.map((stream) => [stream, candidates(stream, question, again, refused)]));
  const { best, needed } = chooseWhole(question, usable, refused);

  const decisions = order.map((stream): StreamDecision => {
    const taken = best.get(stream);
    if (!needed.has(stream)) return leave(stream, taken, question.stages);
    if (taken !== undefined) return take(stream, taken);
    return { action: 'make', stream, why: whyMade(stream, again, question.resumeFrom, refused) };
  });
  return { decisions, drop: toDrop(question, decisions), refused, resumedFrom: farthest(decisions) };
}

/**
 * Streams that must be there for the results to come about: the results themselves, and what is read by a needed
 * stream that is not sealed yet. Checkpoints keep these and no others.
 */
export function neededStreams(
  stages: readonly Pick<ReadingStage, 'name' | 'after'>[],
  results: Iterable<string>,
  isSealed: (stream: string) => boolean,
): Set<string> {
  const inputs = new Map(stages.map((stage) => [stage.name, stage.after]));
  const needed = new Set<string>();
  const toVisit = [...results];
  for (let stream = toVisit.pop(); stream !== undefined; stream = toVisit.pop()) {
    if (needed.has(stream)) continue;
    needed.add(stream);
    if (!isSealed(stream)) toVisit.push(...(inputs.get(stream) ?? []));
  }
  return needed;
}

/**
 * The best copy of each stream that has all columns that are needed of it. Where one lacks some and the next is taken, or none, more may
 * be needed of the streams before it; so until nothing changes, which is so when all copies are refused at the latest.
 */
function chooseWhole(
  { stages, results: ends }: Pick<ResumeQuestion, 'stages' | 'results'>,
  usable: ReadonlyMap<string, Candidate[]>,
  refused: ResumePlan['refused'],
): { best: Map<string, Candidate>; needed: Set<string> } {
  const order = topologicalOrder(stages);
  const results = [...ends];
  for (;;) {
    const best = new Map([...usable].flatMap(([stream, [first]]) => (first === undefined ? [] : [[stream, first] as const])));
    const isSealed = (stream: string): boolean => best.get(stream)?.held.sealed === true;
    const needed = neededStreams(stages, results, isSealed);
    const columns = neededColumns(order, results, (stage) => isSealed(stage) || !needed.has(stage));
    let isWhole = true;
    for (const [stream, { place, held }] of best) {
      const lacking = needed.has(stream) ? (held.freed ?? []).filter((column) => needs(columns.get(stream), column)) : [];
      if (lacking.length === 0) continue;
      isWhole = false;
      usable.get(stream)?.shift();
      const why = `a stage needs ${lacking.join(', ')} now, which had been given back when nothing was to read it any more`;
      refused.push({ stream, place, why: `${copyOf(stream, place)} is not used: ${why}` });
    }
    if (isWhole) return { best, needed };
  }
}

/** Whether something that is needed now of the streams in the scratch was given back. */
export function isSomethingGone(question: Pick<ResumeQuestion, 'stages' | 'results'>, held: readonly HeldStream[]): boolean {
  const refused: ResumePlan['refused'] = [];
  chooseWhole(question, new Map(held.map((stream) => [stream.stream, [{ place: 'scratch', held: stream }]])), refused);
  return refused.length > 0;
}

/** What the heart is told is there. */
export const knownStreams = (plan: ResumePlan): KnownStream[] =>
  plan.decisions.flatMap((decision) =>
    decision.action === 'keep' || decision.action === 'restore' ? [{ stream: decision.stream, sealed: decision.sealed }] : [],
  );

interface Candidate {
  place: HoldingPlace;
  held: HeldStream;
}

/** Usable copies of a stream, the best first; the reasons against the others go to `refused`. */
function candidates(
  stream: string,
  question: ResumeQuestion,
  again: ReadonlySet<string>,
  refused: ResumePlan['refused'],
): Candidate[] {
  const wanted = question.wanted.get(stream);
  const usable: Candidate[] = [];
  for (const place of holdingPlaces) {
    for (const held of question.held[place]?.streams ?? []) {
      if (held.stream !== stream) continue;
      const why = whyNot(held, wanted, again.has(stream) ? question.resumeFrom : undefined);
      if (why === '') usable.push({ place, held });
      else refused.push({ stream, place, why: `${copyOf(stream, place)} is not used: ${why}` });
    }
  }
  return usable.sort(
    (a, b) =>
      Number(b.held.sealed) - Number(a.held.sealed) ||
      (a.held.sealed ? 0 : (b.held.consumed ?? 0) - (a.held.consumed ?? 0)) ||
      holdingPlaces.indexOf(a.place) - holdingPlaces.indexOf(b.place),
  );
}

function whyNot(held: HeldStream, wanted: Lineage | undefined, resumeFrom: string | undefined): string {
  if (wanted === undefined) return 'the pipeline has no such stage any more';
  if (resumeFrom !== undefined) return `it was asked to resume from stage ${resumeFrom}`;
  const difference = explainDifference(wanted, held.lineage);
  if (difference !== '') return difference;
  if (!held.sealed && held.consumed === undefined) return 'it is not whole, and how far it had come was not recorded';
  return '';
}

function take(stream: string, { place, held }: Candidate): StreamDecision {
  const { sealed, blocks } = held;
  const state = sealed
    ? `whole, ${String(blocks)} blocks`
    : `${String(blocks)} blocks, ${String(held.consumed ?? 0)} of its input done`;
  if (place === 'scratch') {
    return {
      action: 'keep',
      stream,
      sealed,
      blocks,
      why: `${stream} is in the scratch (${state})${sealed ? '' : ' and goes on from there'}`,
    };
  }
  const why = `${stream} is restored from the ${placeNames[place]} (${state})${sealed ? '' : ' and goes on from there'}`;
  return { action: 'restore', stream, from: place, sealed, blocks, bytes: held.bytes, why };
}

function whyMade(
  stream: string,
  again: ReadonlySet<string>,
  resumeFrom: string | undefined,
  refused: ResumePlan['refused'],
): string {
  const how = stream === inputStream ? 'the source is read' : `${stream} runs from its beginning`;
  if (again.has(stream)) {
    return stream === resumeFrom
      ? `${how}: it was asked to resume from here`
      : `${how}: it follows stage ${String(resumeFrom)}, which runs again`;
  }
  const reasons = refused.filter((entry) => entry.stream === stream || entry.stream === '').map((entry) => entry.why);
  return `${how}: ${reasons.length > 0 ? reasons.join('; ') : 'nothing is held of it'}`;
}

/** A stream that nothing needs: it is not moved, but what is whole in the scratch may stay until room is wanted. */
function leave(stream: string, taken: Candidate | undefined, stages: ResumeQuestion['stages']): StreamDecision {
  const readers = stages.filter((stage) => stage.after.includes(stream)).map((stage) => stage.name);
  const why =
    readers.length === 0
      ? `${stream} is not needed: nothing reads it and it is no result`
      : `${stream} is not needed: what reads it (${readers.join(', ')}) is done or not needed`;
  if (taken?.place === 'scratch' && taken.held.sealed) {
    return { action: 'keep', stream, sealed: true, blocks: taken.held.blocks, why: `${why}; it is in the scratch still` };
  }
  return { action: 'skip', stream, why };
}

function toDrop(question: ResumeQuestion, decisions: readonly StreamDecision[]): string[] {
  const kept = new Set(decisions.filter((decision) => decision.action === 'keep').map((decision) => decision.stream));
  return (question.held.scratch?.streams ?? []).filter((held) => !kept.has(held.stream)).map((held) => held.stream);
}

function farthest(decisions: readonly StreamDecision[]): ResumePlan['resumedFrom'] {
  const from = new Set(decisions.map((decision) => (decision.action === 'restore' ? decision.from : decision.action)));
  if (from.has('volume')) return 'volume';
  if (from.has('ssd')) return 'ssd';
  return from.has('keep') ? 'scratch' : 'source';
}

/** `input` and the stages, each after what it reads. */
const inputsFirst = (stages: ResumeQuestion['stages']): string[] => [
  inputStream,
  ...topologicalOrder(stages).map((stage) => stage.name),
];

function withWhatFollows(from: string, stages: ResumeQuestion['stages'], order: readonly string[]): Set<string> {
  const after = new Map(stages.map((stage) => [stage.name, stage.after]));
  const follows = new Set([from]);
  for (const stream of order) {
    if ((after.get(stream) ?? []).some((name) => follows.has(name))) follows.add(stream);
  }
  return follows;
}

const placeNames = { scratch: 'scratch', ssd: 'SSD', volume: 'volume' } as const;
const copyOf = (stream: string, place: HoldingPlace): string =>
  place === 'scratch' ? `what the scratch holds of ${stream}` : `the checkpoint of ${stream} on the ${placeNames[place]}`;
