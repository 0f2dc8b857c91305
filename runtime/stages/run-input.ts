/**
 * What a run reads: the combination of its inputs, which may still grow while it does.
 *
 * Invariants
 *  1. Counts come from the index, never from a message: a message says when to look.
 *  2. A stream counts only under the lineage that the run was told: what an earlier maker left there is not read.
 *  3. Blocks that were seen once stay: fewer of them is an error, not a beginning anew. While the run is held back nothing of them has
 *     been used: then they may go.
 *  4. A run that is held back is told of no block before all of its inputs are whole.
 */
import type { ColumnSchema, StreamRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { ResolvedStage, StageDeclaration } from '../contracts/manifest.js';
import type { RunRequest } from '../contracts/shim-protocol.js';
import type { Scratch } from '../scratch/types.js';
import { orAborted } from './aborts.js';
import { combine, type CombinedInput, type InputStream } from './combine.js';
import type { RunNews } from './news.js';
import { checkInput } from './schema.js';

export type GrowthListener = (blocks: number, isWhole: boolean) => void;

/** What a thread reads: the records, and what they make together. */
export interface Reading {
  records: InputRecords;
  input: CombinedInput;
}

/** All must be there. Throws PDL_STAGE_COLUMNS where they do not go together. */
export function readingOf(scratch: Scratch, request: InputRequest, how: 'zip' | 'concat', stage: string): Reading {
  const records = new InputRecords(scratch, request, stage);
  return { records, input: records.combined(how) };
}

/** The combined input of one run, and the time that was spent waiting for it. */
export class RunInput {
  readonly #records: InputRecords;
  #combined: CombinedInput | undefined;
  #listener: GrowthListener | undefined;
  #onThere: (() => void) | undefined;
  #failure: PodlineError | undefined;
  #onFailure: ((failure: PodlineError) => void) | undefined;
  #done = 0;
  #waitsSinceMs: number | undefined;
  #waitedMs = 0;
  #heldMs = 0;
  #stopListening: (() => void) | undefined;
  #onHeld: (() => void) | undefined;

  constructor(
    private readonly parts: { stage: Pick<ResolvedStage, 'name' | 'combine'>; declaration: StageDeclaration; scratch: Scratch },
    request: RunRequest,
    private readonly news: RunNews,
    private readonly nowMs: () => number,
  ) {
    this.#records = new InputRecords(parts.scratch, request, parts.stage.name);
    if (request.growing !== undefined && request.growing.length > 0) news.onGrowth(() => this.#look());
    if (!news.isHeld) return;
    this.#waitsSinceMs = nowMs();
    this.#stopListening = parts.scratch.onRing(request.shardId, request.inputs, () => this.#look());
  }

  /** Waits until every input is there with its columns. Throws PDL_STAGE_COLUMNS where they are not what the stage takes. */
  async open(signal: AbortSignal): Promise<void> {
    const { stage, declaration } = this.parts;
    this.#look();
    if (!this.#records.areThere) {
      this.#waitsSinceMs ??= this.nowMs();
      await orAborted(new Promise<void>((resolve) => (this.#onThere = resolve)), signal);
      if (!this.news.isHeld) this.#endWait();
    }
    const input = this.#records.combined(stage.combine);
    checkInput(stage.name, declaration, input.kind, input.schema);
    this.#combined = input;
  }

  get schema(): ColumnSchema[] {
    return this.#opened.schema;
  }

  get reading(): Reading {
    return { records: this.#records, input: this.#opened };
  }

  /** As many as are known. */
  get blocks(): number {
    return this.#opened.blocks;
  }

  /** Between two blocks, and while no block is there that is not done. */
  get waitedMs(): number {
    return this.#waitedMs + (this.#waitsSinceMs === undefined ? 0 : this.nowMs() - this.#waitsSinceMs);
  }

  /** Of that, until the stage's code could have been called. */
  get heldMs(): number {
    return this.#heldMs;
  }

  /** There will be no more blocks. */
  get isWhole(): boolean {
    return this.#opened.isWhole;
  }

  /** Told once, if the run is held back, that it has a block to begin with. */
  onHeld(listener: () => void): void {
    if (this.news.isHeld) this.#onHeld = listener;
  }

  /** Told at once, and whenever there is more. */
  onGrowth(listener: GrowthListener): void {
    this.#listener = listener;
    this.#tell();
  }

  /** All blocks before this one are done: without a further one, what follows is waiting. */
  noteDone(blocks: number): void {
    this.#done = blocks;
    const input = this.#opened;
    if (blocks >= input.blocks && !input.isWhole) this.#waitsSinceMs ??= this.nowMs();
  }

  /** Rejects as soon as the inputs turn out not to go together. */
  orFault<T>(awaited: Promise<T>): Promise<T> {
    if (this.#opened.isWhole) return awaited;
    return new Promise((resolve, reject) => {
      this.#onFailure = reject;
      if (this.#failure !== undefined) reject(this.#failure);
      awaited.then(resolve, reject);
    });
  }

  /** Idempotent. */
  close(): void {
    this.news.onGrowth(undefined);
    this.#listener = undefined;
    this.#stopListening?.();
    this.#endWait();
  }

  get #opened(): CombinedInput {
    if (this.#combined === undefined)
      throw new PodlineError('PDL_INTERNAL', `the input of stage ${this.parts.stage.name} is not open`);
    return this.#combined;
  }

  #look(): void {
    try {
      this.#records.look(this.news.isHeld);
      if (!this.#records.areThere) return;
      this.#onThere?.();
      if (this.#combined !== undefined) this.#tell();
    } catch (thrown) {
      this.#failure ??= PodlineError.from(thrown);
      this.#onFailure?.(this.#failure);
    }
  }

  #tell(): void {
    if (this.#listener === undefined) return;
    const { isWhole } = this.#opened;
    if (isWhole) this.news.begin();
    if (this.news.isHeld) {
      if (this.#onHeld !== undefined && this.#opened.blocks > this.#done) this.#sayHeld(this.#onHeld);
      return;
    }
    this.#endHold();
    const { blocks } = this.#opened;
    if (blocks > this.#done || isWhole) this.#endWait();
    this.#listener(blocks, isWhole);
  }

  #sayHeld(listener: () => void): void {
    this.#onHeld = undefined;
    listener();
  }

  #endHold(): void {
    if (this.#stopListening === undefined) return;
    this.#stopListening();
    this.#stopListening = undefined;
    this.#heldMs = this.waitedMs;
  }

  #endWait(): void {
    this.#waitedMs = this.waitedMs;
    this.#waitsSinceMs = undefined;
  }
}

type InputRequest = Pick<RunRequest, 'shardId' | 'shardKey' | 'inputs' | 'growing' | 'lineage'>;

/** The records of a run's inputs, kept as new as the last look at the index. */
export class InputRecords {
  readonly #streams: (StreamRecord | undefined)[];

  constructor(
    private readonly scratch: Pick<Scratch, 'stream'>,
    private readonly request: InputRequest,
    private readonly stage: string,
  ) {
    this.#streams = request.inputs.map((name) => this.#read(name));
  }

  /** Every input is there, if only with its first block. */
  get areThere(): boolean {
    return this.#streams.every((stream) => stream !== undefined);
  }

  /** Looks at those that may have grown. `mayShrink`: nothing of them was used so far. */
  look(mayShrink = false): void {
    this.request.inputs.forEach((name, index) => {
      const before = this.#streams[index];
      if (before?.sealed === true) return;
      const now = this.#read(name);
      if (!mayShrink && before !== undefined && (now === undefined || now.blocks < before.blocks))
        throw new PodlineError('PDL_INTERNAL', `stream ${name} lost blocks while stage ${this.stage} read them`, {
          place: `${this.request.shardKey}/${name}`,
        });
      this.#streams[index] = now;
    });
  }

  /** Throws PDL_STAGE_COLUMNS where they do not go together. All must be there. */
  combined(how: 'zip' | 'concat'): CombinedInput {
    return combine(
      how,
      this.request.inputs.map((_, index) => this.#live(index)),
      this.stage,
    );
  }

  #live(index: number): InputStream {
    const current = (): StreamRecord => {
      const stream = this.#streams[index];
      if (stream === undefined)
        throw new PodlineError('PDL_INTERNAL', `input ${String(this.request.inputs[index])} of stage ${this.stage} is not there`);
      return stream;
    };
    const { stream, kind, schema } = current();
    return {
      stream,
      kind,
      schema,
      get blocks() {
        return current().blocks;
      },
      get sealed() {
        return current().sealed;
      },
    };
  }

  #read(name: string): StreamRecord | undefined {
    const { shardId, growing, lineage } = this.request;
    const stream = this.scratch.stream(shardId, name);
    if (growing?.includes(name) === true) {
      const wanted = lineage.inputs[name];
      return stream === undefined || (wanted !== undefined && stream.lineage.digest !== wanted) ? undefined : stream;
    }
    return wholeStream(stream, this.request, name, this.stage);
  }
}

/** The streams that a run reads, sealed all of them. Throws PDL_INTERNAL where one is not. */
export const inputsOf = (scratch: Pick<Scratch, 'stream'>, request: InputRequest, stage: string): StreamRecord[] =>
  request.inputs.map((name) => wholeStream(scratch.stream(request.shardId, name), request, name, stage));

function wholeStream(stream: StreamRecord | undefined, request: InputRequest, name: string, stage: string): StreamRecord {
  if (stream?.sealed === true) return stream;
  throw new PodlineError('PDL_INTERNAL', `stage ${stage} was started before its input ${name} was whole`, {
    place: `${request.shardKey}/${name}`,
  });
}
