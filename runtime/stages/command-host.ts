/**
 * A program of any language as a stage: it finds its input as files or NDJSON, and exit code 0 commits what it wrote.
 * `docs/shim-protocol.md` tells authors of programs what they find.
 *
 * Invariants
 *  1. A program starts anew after a failure: nothing of a run that did not end well is kept.
 *  2. Nothing of the program is left when its run is over, nor of its folders.
 */
import { rm, stat } from 'node:fs/promises';
import { isAbsolute, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { env } from '../contracts/env.js';
import { PodlineError } from '../contracts/errors.js';
import type { RunRequest } from '../contracts/shim-protocol.js';
import type { TraceContext } from '../contracts/trace.js';
import { nodeClockMs } from '../platform/clock.js';
import { arrowSchemaInPlace } from '../scratch/adopt.js';
import { openScratch } from '../scratch/scratch.js';
import type { Scratch, WriterRequest } from '../scratch/types.js';
import { foundOutput, layInput, makeFolders, pieces, type RunFolders } from './command-files.js';
import { combine } from './combine.js';
import { Commits, type RunEvents } from './commits.js';
import { FileSink, pieceBytesMax } from './files-form.js';
import type { HostSetup, StageHost } from './host.js';
import { LocalPrograms } from './local-programs.js';
import { feedRows, RowIntake } from './ndjson.js';
import type { RunNews } from './news.js';
import type { Programs, RunningProgram } from './programs.js';
import { inputsOf } from './run-input.js';
import { endOf, isDone, type RunCounts, type RunEnd } from './runner.js';

const nowMs = (): number => performance.now();
/** Blocks of a stream of bytes that a command wrote. */
const bytesBlockMax = 4 * 1024 * 1024;

/** What only the shim may know: a program sees its shard and nothing else. */
const hidden: readonly string[] = [
  env.token,
  env.tokenFile,
  env.coordinatorUrl,
  env.socket,
  env.scratchDir,
  env.ssdDir,
  env.volumeDir,
  env.lifeline,
  env.stagesDir,
  'TRACEPARENT',
  'TRACESTATE',
];

export class CommandHost implements StageHost {
  #scratch: Scratch | undefined;

  /** `programs`: who starts them, this process unless told otherwise. */
  constructor(
    private readonly setup: HostSetup,
    private readonly programs: Programs = new LocalPrograms(),
  ) {}

  async load(): Promise<void> {
    const { runsDir, scratch } = this.setup;
    await rm(runsDir, { recursive: true, force: true });
    this.#scratch = await openScratch(scratch);
    this.programs.load();
  }

  run(request: RunRequest, events: RunEvents, _news: RunNews, signal: AbortSignal, startedAtMs: number): Promise<RunEnd> {
    return endOf(startedAtMs, nowMs, signal, async (counts) => {
      const { stage } = this.setup;
      const scratch = this.#scratch;
      if (scratch === undefined) throw new PodlineError('PDL_INTERNAL', `stage ${stage.name} was started before it was loaded`);
      if (isDone(scratch, request, stage.name)) return;
      const run: CommandRun = { scratch, request, events, signal, counts, ended: new AbortController() };
      if (stage.stdio === 'ndjson') await this.#runRows(run);
      else await this.#runFiles(run);
      const blocks = inputsOf(scratch, request, stage.name).reduce((sum, stream) => sum + stream.blocks, 0);
      counts.blocks = blocks;
      events.progress(blocks, blocks, counts.rows);
    });
  }

  async close(): Promise<void> {
    const scratch = this.#scratch;
    this.#scratch = undefined;
    this.programs.close();
    await scratch?.close();
    await rm(this.setup.runsDir, { recursive: true, force: true });
  }

  async #runFiles(run: CommandRun): Promise<void> {
    const { scratch, request, counts, signal } = run;
    const { stage, runsDir } = this.setup;
    const folders = await makeFolders(runsDir, request.runId);
    const reader = scratch.openReader(request.shardId);
    try {
      for (const stream of inputsOf(scratch, request, stage.name))
        await layInput(scratch, request.shardId, stream, reader, folders.input);
      signal.throwIfAborted();
      const program = this.#start(run, folders, false);
      await program.exited;
      signal.throwIfAborted();
      await this.#takeIn(run, folders.output);
    } finally {
      counts.bytes.memory.read += reader.read.memory;
      counts.bytes.ssd.read += reader.read.ssd;
      reader.close();
      await rm(folders.root, { recursive: true, force: true });
    }
  }

  async #takeIn(run: CommandRun, folder: string): Promise<void> {
    const { stage } = this.setup;
    const { output: kind } = stage;
    const found = await foundOutput(stage.name, kind, folder);
    const arrow = kind === 'table' ? found[0]?.path : undefined;
    const commits = this.#commits(run, { kind, schema: arrow === undefined ? [] : await arrowSchemaInPlace(arrow) });
    try {
      if (arrow !== undefined) {
        const { size } = await stat(arrow);
        const blocks = await commits.commit(size, (writer) => writer.adoptArrow(arrow));
        commits.rows += blocks.reduce((sum, block) => sum + block.rows, 0);
      } else if (kind === 'bytes') {
        const path = found[0]?.path ?? '';
        for await (const piece of pieces(path, bytesBlockMax))
          await commits.commit(piece.byteLength, (writer) => writer.appendBytes(piece));
      } else {
        const sink = new FileSink(stage.name, commits);
        for (const { path, name } of found) for await (const piece of pieces(path, pieceBytesMax)) await sink.write(name, piece);
      }
      await commits.seal();
      run.counts.sealedAtMs = nodeClockMs();
    } finally {
      await this.#closeCommits(run, commits);
    }
  }

  async #runRows(run: CommandRun): Promise<void> {
    const { scratch, request, counts, signal, ended } = run;
    const { stage, runsDir } = this.setup;
    const input = combine(stage.combine, inputsOf(scratch, request, stage.name), stage.name);
    if (input.kind !== 'table')
      throw new PodlineError('PDL_STAGE_COLUMNS', `stage ${stage.name} takes rows, but its input is a stream of ${input.kind}`, {
        place: stage.name,
      });
    const folders = await makeFolders(runsDir, request.runId);
    const reader = scratch.openReader(request.shardId);
    let commits: Commits | undefined;
    try {
      const program = this.#start(run, folders, true);
      const fed = feedRows(stage.name, scratch, request.shardId, reader, input, program.stdin, ended.signal);
      const intake = new RowIntake(stage.name, (schema) => (commits = this.#commits(run, { kind: 'table', schema })));
      try {
        await intake.takeAll(program.stdout);
      } catch (thrown) {
        program.kill();
        await program.exited.catch(() => undefined);
        throw thrown;
      } finally {
        ended.abort();
        await fed;
      }
      await program.exited;
      signal.throwIfAborted();
      await (await intake.finish()).seal();
      counts.sealedAtMs = nodeClockMs();
    } finally {
      ended.abort();
      counts.bytes.memory.read += reader.read.memory;
      counts.bytes.ssd.read += reader.read.ssd;
      reader.close();
      if (commits !== undefined) await this.#closeCommits(run, commits);
      await rm(folders.root, { recursive: true, force: true });
    }
  }

  #start({ request, signal, counts }: CommandRun, folders: RunFolders, isPiped: boolean): RunningProgram {
    const { stage, stagesDir } = this.setup;
    return this.programs.start(
      {
        runId: request.runId,
        stage: stage.name,
        command: stage.command ?? [],
        cwd: stage.cwd === undefined || isAbsolute(stage.cwd) ? stage.cwd : resolve(stagesDir, stage.cwd),
        env: {
          [env.inputDir]: folders.input,
          [env.outputDir]: folders.output,
          [env.parameters]: JSON.stringify(request.parameters),
          [env.shardKey]: request.shardKey,
          [env.stage]: stage.name,
          ...traceEnvironment(request.trace),
        },
        without: hidden,
        folder: folders.root,
        isPiped,
        onStart: () => {
          counts.firstCallAtMs = nowMs();
        },
      },
      signal,
    );
  }

  #commits({ scratch, request, events }: CommandRun, what: Pick<WriterRequest, 'kind' | 'schema'>): Commits {
    const { shardId, lineage, runId, epoch } = request;
    return new Commits(
      scratch,
      { shardId, stream: this.setup.stage.name, ...what, lineage, run: { runId, epoch }, fresh: true },
      events,
    );
  }

  async #closeCommits({ counts }: CommandRun, commits: Commits): Promise<void> {
    await commits.close();
    counts.bytes.memory.written += commits.written.memory;
    counts.bytes.ssd.written += commits.written.ssd;
    counts.rows = commits.rows;
  }
}

/** `TRACEPARENT` is where many programs look for it. Of the shim's own environment none is handed on. */
const traceEnvironment = (trace: TraceContext | undefined): Record<string, string> => ({
  ...(trace === undefined ? {} : { [env.traceparent]: trace.traceparent, TRACEPARENT: trace.traceparent }),
  ...(trace?.tracestate === undefined ? {} : { TRACESTATE: trace.tracestate }),
});

interface CommandRun {
  scratch: Scratch;
  request: RunRequest;
  events: RunEvents;
  signal: AbortSignal;
  counts: RunCounts;
  /** Aborted when the program takes no more input. */
  ended: AbortController;
}
