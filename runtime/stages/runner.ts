/**
 * Runs one stage on one shard: reads committed blocks, has them worked on, commits what comes out.
 *
 * Owns the run's order, and how it ends. Leaves to workers the reading of blocks, the stage's code and the writing of output, to
 * `Commits` the one writer that commits.
 *
 * Invariants
 *  1. Output is committed in the order of the input blocks, each commit with the number of blocks that are now done; a run
 *     goes on behind that number.
 *  2. One commit at a time. What is under way and not committed is bounded by the workers.
 *  3. The first call of the stage's code does not wait for the stream of its output.
 *  4. Whatever happens, the workers' run is over before the writer is closed, and both before the run is.
 */
import { noBytes, type BytesByMedium } from '../contracts/block.js';
import type { WireError } from '../contracts/errors.js';
import type { ResolvedStage, StageDeclaration } from '../contracts/manifest.js';
import type { RunRequest } from '../contracts/shim-protocol.js';
import { nodeClockMs } from '../platform/clock.js';
import type { Scratch } from '../scratch/types.js';
import { orAborted } from './aborts.js';
import { AggregateCommits } from './aggregate-commits.js';
import { Commits, type RunEvents } from './commits.js';
import type { DefinedStage } from './define.js';
import { asPodlineError } from './failure.js';
import type { RunNews } from './news.js';
import { RunInput } from './run-input.js';
import { kindOf, outputSchema } from './schema.js';
import type { Outcome, RunPlan, Workers } from './workers.js';

export interface RunEnd {
  outcome: 'committed' | 'failed' | 'cancelled';
  error?: WireError | undefined;
  /** From the arrival of the request, or from when it was held back no longer, to the first call of the stage's code. */
  startMs: number;
  /** From the arrival of the request to the end, without `waitedMs`. */
  workMs: number;
  /** For blocks of inputs that were still made, with nothing else to do; while it was held back included. */
  waitedMs?: number | undefined;
  /** The first call of the stage's code, by `nodeClockMs`. */
  calledAtMs?: number | undefined;
  /** By the same clock: its output is whole in the index; or it ended otherwise. */
  endedAtMs?: number | undefined;
  /** Blocks of the input that this run has done. */
  blocks: number;
  /** Rows that it has written. */
  rows: number;
  bytes: BytesByMedium;
}

/** Counts kept while a run goes on, so that a failed run can tell them too. */
export interface RunCounts {
  firstCallAtMs: number | undefined;
  /** The output was made whole, by `nodeClockMs`. */
  sealedAtMs?: number | undefined;
  waitedMs: number;
  /** Of that, before the stage's code could have been called. */
  heldMs: number;
  blocks: number;
  rows: number;
  bytes: BytesByMedium;
}

export interface RunnerParts {
  stage: ResolvedStage;
  declaration: StageDeclaration;
  /** Loaded in this thread: needed for aggregations. */
  defined: DefinedStage | undefined;
  scratch: Scratch;
  workers: Workers;
  nowMs: () => number;
}

/** Turns whatever a run does into how it ended; never throws. */
export async function endOf(
  startedAtMs: number,
  nowMs: () => number,
  signal: AbortSignal,
  run: (counts: RunCounts) => Promise<void>,
): Promise<RunEnd> {
  const counts: RunCounts = { firstCallAtMs: undefined, waitedMs: 0, heldMs: 0, blocks: 0, rows: 0, bytes: noBytes() };
  let failure: unknown;
  try {
    signal.throwIfAborted();
    await run(counts);
  } catch (thrown) {
    failure = thrown ?? new Error('nothing was thrown');
  }
  const { firstCallAtMs, sealedAtMs, heldMs, ...told } = counts;
  const endedMs = nowMs();
  const endedAtMs = nodeClockMs();
  const times = {
    startMs: firstCallAtMs === undefined ? 0 : Math.max(0, firstCallAtMs - startedAtMs - heldMs),
    workMs: endedMs - startedAtMs - counts.waitedMs,
    endedAtMs: sealedAtMs ?? endedAtMs,
    ...(firstCallAtMs === undefined ? {} : { calledAtMs: endedAtMs - (endedMs - firstCallAtMs) }),
    ...told,
  };
  if (failure === undefined) return { outcome: 'committed', ...times };
  if (signal.aborted) return { outcome: 'cancelled', ...times };
  return { outcome: 'failed', error: asPodlineError(failure, 'PDL_STAGE_FAILED').toWire(), ...times };
}

/** Whether the run's stream is there already, whole: a start that came twice. */
export function isDone(scratch: Scratch, request: RunRequest, stage: string): boolean {
  const stream = scratch.stream(request.shardId, stage);
  return stream?.sealed === true && stream.lineage.digest === request.lineage.digest;
}

/** Runs a stage of the forms block, row, aggregate or bytes. */
export async function runBlocks(
  parts: RunnerParts,
  request: RunRequest,
  events: RunEvents,
  news: RunNews,
  signal: AbortSignal,
  counts: RunCounts,
): Promise<void> {
  const { stage, declaration, scratch, nowMs } = parts;
  const { shardId, lineage, runId, epoch } = request;
  const left = scratch.stream(shardId, stage.name);
  const resumes = left?.lineage.digest === lineage.digest ? left : undefined;
  if (resumes?.sealed === true) return;
  const done = resumes === undefined ? undefined : scratch.progress(shardId, stage.name);
  const input = new RunInput(parts, request, news, nowMs);
  try {
    await input.open(signal);
    const schema = outputSchema(stage.name, declaration, input.schema);
    const output = { shardId, stream: stage.name, kind: kindOf(declaration.form), schema, lineage, run: { runId, epoch } };
    const plan: RunPlan = { ...planOf(request), combine: stage.combine, output };
    const commits = new Commits(scratch, output, events);
    const flow: Flow = { ...parts, plan, input, news, events, signal, counts, commits, from: done?.consumed ?? 0 };
    if (declaration.form !== 'aggregate') {
      await work(flow, (outcomes, consumed) => commits.outcomes(outcomes, { consumed }));
      return;
    }
    // The result is one block: where it is committed, only the seal was missing.
    if (resumes !== undefined && resumes.blocks > 0) {
      await seal(commits, counts);
      return;
    }
    const aggregate = new AggregateCommits(parts, request, events, signal, commits, done?.state);
    await work(
      flow,
      (outcomes, consumed) => aggregate.take(outcomes, consumed),
      () => aggregate.finish(input.blocks, counts.bytes.network),
    );
  } finally {
    input.close();
    counts.waitedMs = input.waitedMs;
    counts.heldMs = input.heldMs;
  }
}

const planOf = ({
  runId,
  shardId,
  shardKey,
  parameters,
  trace,
  inputs,
  growing,
  lineage,
}: RunRequest): Omit<RunPlan, 'combine' | 'output'> => ({
  runId,
  shardId,
  shardKey,
  parameters,
  trace,
  inputs,
  growing,
  lineage,
});

interface Flow extends RunnerParts {
  plan: RunPlan;
  input: RunInput;
  news: RunNews;
  events: RunEvents;
  signal: AbortSignal;
  counts: RunCounts;
  commits: Commits;
  /** Blocks that were done when the run began. */
  from: number;
}

/** Hands the input to the workers and commits what they give, until there is no more; then seals. */
async function work(
  flow: Flow,
  commit: (outcomes: readonly Outcome[], consumed: number) => Promise<void>,
  finish: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const { workers, plan, from, input, commits, events, news, signal, counts } = flow;
  const { bytes } = counts;
  // Whoever waits for the stream wakes meanwhile.
  const ring = (): void => flow.scratch.ring(plan.shardId, plan.output.stream);
  let isOver = false;
  const end = async (): Promise<void> => {
    if (isOver) return;
    isOver = true;
    counts.firstCallAtMs = workers.firstCallAtMs;
    const read = await workers.end();
    bytes.memory.read += read.memory;
    bytes.ssd.read += read.ssd;
    bytes.network.read += read.network.read;
    bytes.network.written += read.network.written;
  };
  try {
    const open = (): Promise<unknown> => commits.open();
    const room = (needBytes: number) => events.room(needBytes);
    const { reading } = input;
    const { isHeld } = news;
    await workers.begin({ plan, from, open, signal, voice: events, room, reading, isHeld, isFollowed: () => news.isFollowed });
    input.onHeld(() => workers.touch());
    input.onGrowth((blocks, isWhole) => workers.grow(blocks, isWhole));
    let consumed = from;
    let isForetold = false;
    const begunMs = flow.nowMs();
    for (;;) {
      input.noteDone(consumed);
      if (!isForetold && input.isWhole && isNearEnd(consumed - from, input.blocks - consumed, flow.nowMs() - begunMs)) {
        isForetold = true;
        ring();
      }
      const outcomes = await orAborted(input.orFault(workers.next()), signal);
      if (outcomes.length === 0) break;
      consumed += outcomes.length;
      await commit(outcomes, consumed);
      counts.blocks = consumed - from;
      events.progress(consumed, input.blocks, commits.rows);
      signal.throwIfAborted();
    }
    ring();
    await end();
    await finish();
    await commits.seal();
    counts.sealedAtMs = nodeClockMs();
  } finally {
    await end();
    await commits.close();
    bytes.memory.written += commits.written.memory;
    bytes.ssd.written += commits.written.ssd;
    counts.rows = commits.rows;
  }
}

/** An end that is nearer is foretold. */
const nearMs = 3;

/** So many blocks were done in so long a time, and so many are left. */
function isNearEnd(done: number, left: number, ms: number): boolean {
  return done === 0 ? left <= 1 : (left * ms) / done <= nearMs;
}

async function seal(commits: Commits, counts: RunCounts): Promise<void> {
  try {
    await commits.seal();
    counts.sealedAtMs = nodeClockMs();
  } finally {
    await commits.close();
  }
}
