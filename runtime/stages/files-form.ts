/**
 * Runs a stage of the form `files`: one call that sees all of its inputs and writes named files.
 *
 * Invariants
 *  1. Nothing of an earlier run is gone on with: a report that was half written is written again from its start.
 *  2. The pieces of a file follow each other: a file is closed when the next one is begun.
 */
import { PodlineError } from '../contracts/errors.js';
import type { RunRequest } from '../contracts/shim-protocol.js';
import { nodeClockMs } from '../platform/clock.js';
import type { Scratch } from '../scratch/types.js';
import { orAborted } from './aborts.js';
import { Commits, type RunEvents } from './commits.js';
import { RunContext } from './context.js';
import type { DefinedStage, FilesContext } from './define.js';
import { stageError } from './failure.js';
import { describe, fault } from './output.js';
import { inputsOf } from './run-input.js';
import { isDone, type RunCounts } from './runner.js';
import { checkParameters } from './schema.js';
import { stageInputs } from './stream-input.js';

/** Larger files are committed in pieces of this size. */
export const pieceBytesMax = 8 * 1024 * 1024;

export async function runFiles(
  parts: { stage: string; defined: DefinedStage; scratch: Scratch; nowMs: () => number },
  request: RunRequest,
  events: RunEvents,
  signal: AbortSignal,
  counts: RunCounts,
): Promise<void> {
  const { stage, defined, scratch } = parts;
  const { shardId, lineage, runId, epoch } = request;
  const { files } = defined.functions;
  if (files === undefined) throw new PodlineError('PDL_INTERNAL', `stage ${stage} has no form files`);
  if (isDone(scratch, request, stage)) return;
  checkParameters(stage, defined.parameterTypes, request.parameters);
  const streams = inputsOf(scratch, request, stage);
  const commits = new Commits(
    scratch,
    { shardId, stream: stage, kind: 'files', schema: [], lineage, run: { runId, epoch }, fresh: true },
    events,
  );
  const reader = scratch.openReader(shardId);
  const context = new RunContext(request, signal, events);
  const sink = new FileSink(stage, commits);
  let call: Promise<unknown> | undefined;
  try {
    const ctx: FilesContext = Object.assign(context, {
      writeFile: (name: string, content: Uint8Array | string) => sink.write(name, content),
    });
    counts.firstCallAtMs = parts.nowMs();
    call = Promise.resolve(files(stageInputs(stage, scratch, shardId, reader, streams), ctx));
    const returned = await orAborted(call, signal).catch((thrown: unknown) => {
      throw signal.aborted ? thrown : stageError(stage, thrown, 'files');
    });
    if (returned !== undefined && (typeof returned !== 'object' || returned === null))
      throw fault(stage, 'an object of files, or nothing', describe(returned));
    for (const [name, content] of Object.entries(returned ?? {})) await sink.write(name, content as Uint8Array | string);
    const blocks = streams.reduce((sum, stream) => sum + stream.blocks, 0);
    await commits.progress({ consumed: blocks });
    await commits.seal();
    counts.sealedAtMs = nodeClockMs();
    counts.blocks = blocks;
    events.progress(blocks, blocks, 0);
  } catch (thrown) {
    throw signal.aborted ? thrown : stageError(stage, thrown, 'files');
  } finally {
    const { memory, ssd, network } = counts.bytes;
    memory.read += reader.read.memory;
    ssd.read += reader.read.ssd;
    await commits.close();
    memory.written += commits.written.memory;
    ssd.written += commits.written.ssd;
    network.read += context.network.read;
    network.written += context.network.written;
    // A call that was cancelled may still read: what is mapped stays until it has ended.
    void (call ?? Promise.resolve()).catch(() => undefined).then(() => reader.close());
  }
}

/** Takes files and commits them piece by piece. */
export class FileSink {
  readonly #begun = new Set<string>();
  #current: string | undefined;

  constructor(
    private readonly stage: string,
    private readonly commits: Commits,
  ) {}

  async write(name: string, content: Uint8Array | string): Promise<void> {
    this.#enter(name);
    if (typeof content !== 'string' && !(content instanceof Uint8Array))
      throw fault(`${this.stage}/${name}`, 'text or a Uint8Array', describe(content));
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    for (let at = 0; at === 0 || at < bytes.byteLength; at += pieceBytesMax) {
      const piece = bytes.subarray(at, at + pieceBytesMax);
      await this.commits.commit(piece.byteLength, (writer) => writer.appendFile(name, piece));
    }
  }

  #enter(name: string): void {
    if (!isSafeName(name)) throw fault(this.stage, 'file names that stay in the folder of the result', JSON.stringify(name));
    if (name === this.#current) return;
    if (this.#begun.has(name))
      throw fault(this.stage, 'files one after another', `more of ${name} after ${String(this.#current)} was begun`);
    this.#begun.add(name);
    this.#current = name;
  }
}

/** A relative path of plain components. */
export const isSafeName = (name: string): boolean =>
  name.length > 0 &&
  name.length <= 512 &&
  !name.includes('\0') &&
  !name.includes('\\') &&
  name.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
