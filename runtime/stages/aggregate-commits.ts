/** The commits of an aggregation: its state while blocks come in, its result when all are done. */
import type { StageDeclaration, ResolvedStage } from '../contracts/manifest.js';
import { PodlineError } from '../contracts/errors.js';
import type { RunRequest } from '../contracts/shim-protocol.js';
import type { StageProgress } from '../contracts/block.js';
import { Aggregation } from './aggregation.js';
import type { Commits } from './commits.js';
import { RunContext, type RunVoice } from './context.js';
import type { DefinedStage } from './define.js';
import { finalOutput } from './output.js';
import { bytesOf } from './room.js';
import type { Outcome } from './workers.js';

interface AggregateParts {
  stage: Pick<ResolvedStage, 'name'>;
  declaration: StageDeclaration;
  defined: DefinedStage | undefined;
  nowMs: () => number;
}

export class AggregateCommits {
  readonly #context: RunContext;
  readonly #aggregation: Aggregation;

  /** Goes on from a saved state, if there is one. */
  constructor(
    private readonly parts: AggregateParts,
    request: RunRequest,
    voice: RunVoice,
    private readonly signal: AbortSignal,
    private readonly commits: Commits,
    saved: Uint8Array | undefined,
  ) {
    const { stage, defined, nowMs } = parts;
    const functions = defined?.functions.aggregate;
    if (functions === undefined) throw new PodlineError('PDL_INTERNAL', `stage ${stage.name} was not loaded as an aggregation`);
    this.#context = new RunContext(request, signal, voice);
    this.#aggregation = new Aggregation(stage.name, functions, this.#context, saved, nowMs);
  }

  /** Merges the states of further blocks, `consumed` with them in all, and saves what came out when it is time to. */
  async take(outcomes: readonly Outcome[], consumed: number): Promise<void> {
    let progress: StageProgress | undefined;
    outcomes.forEach((outcome, index) => {
      if (outcome.kind === 'partial')
        progress = this.#aggregation.take(outcome.state, consumed - outcomes.length + index + 1) ?? progress;
    });
    if (progress !== undefined) await this.commits.progress(progress);
  }

  /** Commits the result; what it read and wrote by network is added to `network`. */
  async finish(consumed: number, network: { read: number; written: number }): Promise<void> {
    const { rows, columns } = finalOutput(this.parts.stage.name, this.parts.declaration, await this.#aggregation.finish());
    this.signal.throwIfAborted();
    if (rows > 0) await this.commits.commit(bytesOf(columns), (writer) => writer.appendTable(rows, columns, { consumed }));
    this.commits.rows += rows;
    network.read += this.#context.network.read;
    network.written += this.#context.network.written;
  }
}
