/**
 * Runs one stage on one shard: reads committed blocks, has them worked on, commits what comes out.
 *
 * Owns the run's reader of records, its writer and its order. Leaves to workers the reading of data and the stage's code.
 *
 * Invariants
 *  1. Output is committed in the order of the input blocks, each commit with the number of blocks that are now done; a run
 *     goes on behind that number.
 *  2. At most `workers.depth` blocks are under way, and one commit.
 *  3. The first call of the stage's code does not wait for the stream of its output: that is opened with the first commit.
 *  4. Whatever happens, the writer and the workers' run are closed before the run is over.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { noBytes, type BytesByMedium, type StreamRecord } from '../contracts/block.js';
import { PodlineError, type WireError } from '../contracts/errors.js';
import type { ResolvedStage, StageDeclaration } from '../contracts/manifest.js';
import type { RunRequest } from '../contracts/shim-protocol.js';
import type { ColumnToWrite, Scratch } from '../scratch/types.js';
import { orAborted } from './aborts.js';
import { Aggregation } from './aggregation.js';
import { combine, type CombinedInput } from './combine.js';
import { Commits, type RunEvents } from './commits.js';
import { RunContext } from './context.js';
import type { DefinedStage } from './define.js';
import { asPodlineError } from './failure.js';
import { finalOutput } from './output.js';
import { checkInput, kindOf, outputSchema } from './schema.js';
import type { Workers } from './threads.js';
import type { Answer, ReadBytes } from './work.js';

export interface RunEnd {
  outcome: 'committed' | 'failed' | 'cancelled';
  error?: WireError | undefined;
  /** From the arrival of the request to the first call of the stage's code. */
  startMs: number;
  workMs: number;
  /** Blocks of the input that this run has done. */
  blocks: number;
  /** Rows that it has written. */
  rows: number;
  bytes: BytesByMedium;
}

/** Counts kept while a run goes on, so that a failed run can tell them too. */
export interface RunCounts {
  firstCallAtMs: number | undefined;
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
  const counts: RunCounts = { firstCallAtMs: undefined, blocks: 0, rows: 0, bytes: noBytes() };
  let failure: unknown;
  try {
    signal.throwIfAborted();
    await run(counts);
  } catch (thrown) {
    failure = thrown ?? new Error('nothing was thrown');
  }
  const { firstCallAtMs, ...told } = counts;
  const times = { startMs: (firstCallAtMs ?? startedAtMs) - startedAtMs, workMs: nowMs() - startedAtMs, ...told };
  if (failure === undefined) return { outcome: 'committed', ...times };
  if (signal.aborted) return { outcome: 'cancelled', ...times };
  return { outcome: 'failed', error: asPodlineError(failure, 'PDL_STAGE_FAILED').toWire(), ...times };
}

/** The streams that a run reads; sealed all of them. */
export function inputsOf(scratch: Scratch, request: RunRequest, stage: string): StreamRecord[] {
  return request.inputs.map((name) => {
    const stream = scratch.stream(request.shardId, name);
    if (stream?.sealed !== true) {
      throw new PodlineError('PDL_INTERNAL', `stage ${stage} was started before its input ${name} was whole`, {
        place: `${request.shardKey}/${name}`,
      });
    }
    return stream;
  });
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
  signal: AbortSignal,
  counts: RunCounts,
): Promise<void> {
  const { stage, declaration, scratch, workers } = parts;
  const { shardId, lineage, runId, epoch } = request;
  const left = scratch.stream(shardId, stage.name);
  const resumes = left?.lineage.digest === lineage.digest ? left : undefined;
  if (resumes?.sealed === true) return;
  const input = combine(stage.combine, inputsOf(scratch, request, stage.name), stage.name);
  checkInput(stage.name, declaration, input.kind, input.schema);
  const done = resumes === undefined ? undefined : scratch.progress(shardId, stage.name);
  const schema = outputSchema(stage.name, declaration, input.schema);
  const commits = new Commits(
    scratch,
    { shardId, stream: stage.name, kind: kindOf(declaration.form), schema, lineage, run: { runId, epoch } },
    events,
  );
  let read: ReadBytes | undefined;
  try {
    await workers.begin(request, events, signal);
    const flow: Flow = { ...parts, input, request, events, signal, counts, commits, consumed: done?.consumed ?? 0 };
    if (declaration.form === 'aggregate') {
      await aggregateBlocks(flow, done?.state, resumes !== undefined && resumes.blocks > 0);
    } else {
      await eachAnswer(flow, (answer, consumed) => commitAnswer(flow, answer, consumed));
    }
    await commits.seal();
  } finally {
    read = await workers.end();
    await commits.close();
    const { memory, ssd, network } = counts.bytes;
    memory.read += read.memory;
    ssd.read += read.ssd;
    network.read += read.network.read;
    network.written += read.network.written;
    memory.written += commits.written.memory;
    ssd.written += commits.written.ssd;
    counts.rows = commits.rows;
  }
}

interface Flow extends RunnerParts {
  input: CombinedInput;
  request: RunRequest;
  events: RunEvents;
  signal: AbortSignal;
  counts: RunCounts;
  commits: Commits;
  /** Blocks that were done when the run began. */
  consumed: number;
}

/** Hands every block to the workers and takes their answers in order; `take` begins a commit, and the next waits for it. */
async function eachAnswer(flow: Flow, take: (answer: Answer, consumed: number) => Promise<void> | undefined): Promise<void> {
  const { input, scratch, request, workers, signal, counts, commits, events } = flow;
  const source = (stream: string, seq: number) => {
    const block = scratch.block(request.shardId, stream, seq);
    if (block === undefined)
      throw new PodlineError('PDL_INTERNAL', `block ${seq} of ${stream} is not in the index`, { place: request.shardKey });
    return block;
  };
  const answers: Promise<Answer>[] = [];
  let next = flow.consumed;
  let consumed = flow.consumed;
  let committing: Promise<void> | undefined;
  while (next < input.blocks || answers.length > 0) {
    while (next < input.blocks && answers.length < workers.depth) {
      const block = input.block(next++, source);
      counts.firstCallAtMs ??= flow.nowMs();
      const answer = workers.work(block);
      answer.catch(() => undefined);
      answers.push(answer);
    }
    const answer = await orAborted(answers.shift() as Promise<Answer>, signal);
    await committing;
    signal.throwIfAborted();
    consumed++;
    const at = consumed;
    committing = take(answer, consumed)?.then(() => events.progress(at, input.blocks, commits.rows));
    if (committing === undefined) events.progress(at, input.blocks, commits.rows);
    committing?.catch(() => undefined);
    counts.blocks++;
    // Work that never waits would not let a cancel in.
    if (workers.depth === 1) await nextTurn();
  }
  await committing;
}

async function commitAnswer({ commits }: Flow, answer: Answer, consumed: number): Promise<void> {
  if (answer.kind === 'bytes') {
    await commits.commit(answer.payload.byteLength, (writer) => writer.appendBytes(answer.payload, { consumed }));
  } else if (answer.kind === 'table') {
    const { rows, columns } = answer;
    if (rows === 0) await commits.progress({ consumed });
    else await commits.commit(bytesOf(columns), (writer) => writer.appendTable(rows, columns, { consumed }));
    commits.rows += rows;
  }
}

async function aggregateBlocks(flow: Flow, saved: Uint8Array | undefined, isWritten: boolean): Promise<void> {
  const { defined, stage, declaration, request, signal, events, commits, counts } = flow;
  // The result is one block: where it is committed, only the seal was missing.
  if (isWritten) return;
  const functions = defined?.functions.aggregate;
  if (functions === undefined) throw new PodlineError('PDL_INTERNAL', `stage ${stage.name} was not loaded as an aggregation`);
  const context = new RunContext(request, signal, events);
  const aggregation = new Aggregation(stage.name, functions, context, saved, flow.nowMs);
  await eachAnswer(flow, (answer, consumed) => {
    if (answer.kind !== 'partial') return undefined;
    const progress = aggregation.take(answer.state, consumed);
    return progress === undefined ? undefined : commits.progress(progress);
  });
  const { rows, columns } = finalOutput(stage.name, declaration, await aggregation.finish());
  signal.throwIfAborted();
  if (rows > 0)
    await commits.commit(bytesOf(columns), (writer) => writer.appendTable(rows, columns, { consumed: flow.input.blocks }));
  commits.rows += rows;
  counts.bytes.network.read += context.network.read;
  counts.bytes.network.written += context.network.written;
}

/** What columns will take in the scratch, roughly: what room is asked for. */
const bytesOf = (columns: readonly ColumnToWrite[]): number =>
  columns.reduce((sum, column) => {
    if (!('data' in column)) return sum;
    const { values, validity, offsets, dictionary } = column.data;
    const views = [values, validity, offsets, dictionary?.values, dictionary?.offsets];
    return views.reduce((bytes, view) => bytes + (view === undefined ? 0 : view.byteLength + 64), sum);
  }, 512);
