/**
 * A block from its number to its outcome, in one thread: finds its record, has the stage work on it, writes what comes out.
 *
 * Invariants
 *  1. Written by one thread into a part of its own; nothing is committed here.
 *  2. What is written stays where it is until `close`: the runner commits all that it wants before.
 *  3. The memory under a block stays mapped until the stage's code has let it go, be the run cancelled or not.
 */
import type { BlockRecord } from '../contracts/block.js';
import { isPodlineError, PodlineError } from '../contracts/errors.js';
import type { PartWriter, Scratch, WrittenBlock } from '../scratch/types.js';
import type { RunVoice } from './context.js';
import type { DefinedStage } from './define.js';
import { bytesOf, writeInRoom, type AskRoom } from './room.js';
import { readingOf, type Reading } from './run-input.js';
import { isPromise, RunWork, type Answer } from './work.js';
import type { Outcome, ReadBytes, RunPlan } from './workers.js';

export interface BlockWorkParts {
  stage: string;
  defined: DefinedStage;
  scratch: Scratch;
  plan: RunPlan;
  signal: AbortSignal;
  voice: RunVoice;
  room: AskRoom;
  /** Returns when the stream of the output is open. Throws where the run is over instead. */
  awaitOutput: () => void;
  /** The stage's code is about to be called for a block. */
  onCall: () => void;
  /** What is read, where this thread has looked at it already. */
  reading?: Reading | undefined;
}

export class BlockWork {
  readonly #work: RunWork;
  readonly #reading: Reading;
  #part: PartWriter | undefined;
  #isClosed = false;

  constructor(private readonly parts: BlockWorkParts) {
    const { stage, defined, scratch, plan, signal, voice, onCall } = parts;
    const allocate = (bytes: number): Uint8Array => this.#output.allocate(bytes);
    this.#work = new RunWork(stage, defined, scratch, plan, signal, voice, allocate, onCall);
    this.#reading = parts.reading ?? readingOf(scratch, plan, plan.combine, stage);
  }

  /** A promise only where there is something to wait for. */
  do(block: number): Outcome | Promise<Outcome> {
    const answer = this.#work.work(this.#record(block));
    const outcome = isPromise(answer) ? answer.then((given) => this.#write(given)) : this.#write(answer);
    if (isPromise(outcome)) return outcome.finally(() => this.#work.settle());
    this.#work.settle();
    return outcome;
  }

  /** Makes ready what the block lies in. What stands in the way is told when it is worked on. */
  touch(block: number): void {
    try {
      this.#work.touch(this.#record(block));
    } catch {
      // It is not there yet, or gone again.
    }
  }

  get bytes(): ReadBytes {
    return this.#work.bytes;
  }

  /** Gives back what was written and not committed, and then, when it is time, the memory of the input. Idempotent. */
  close(until: Promise<unknown> | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#part?.close();
    if (until === undefined) this.#work.close();
    else void until.catch(() => undefined).then(() => this.#work.close());
  }

  get #output(): PartWriter {
    if (this.#isClosed) throw new PodlineError('PDL_SCRATCH_CLOSED', `the run of stage ${this.parts.stage} is over`);
    if (this.#part !== undefined) return this.#part;
    this.parts.awaitOutput();
    return (this.#part = this.parts.scratch.openPart(this.parts.plan.output));
  }

  #record(index: number): BlockRecord {
    const { scratch, plan } = this.parts;
    const { records, input } = this.#reading;
    if (index >= input.blocks) records.look();
    return input.block(index, (stream, seq) => {
      const block = scratch.block(plan.shardId, stream, seq);
      if (block === undefined)
        throw new PodlineError('PDL_INTERNAL', `block ${seq} of ${stream} is not in the index`, { place: plan.shardKey });
      return block;
    });
  }

  #write(answer: Answer): Outcome | Promise<Outcome> {
    switch (answer.kind) {
      case 'partial':
        return answer;
      case 'kept':
        return { kind: 'written', block: { rows: 0, columns: [], payload: answer.payload } };
      case 'bytes':
        return this.#inRoom(answer.payload.byteLength, () => this.#output.writeBytes(answer.payload));
      case 'table': {
        const { rows, columns } = answer;
        return rows === 0 ? { kind: 'nothing' } : this.#inRoom(bytesOf(columns), () => this.#output.writeTable(rows, columns));
      }
    }
  }

  #inRoom(needBytes: number, write: () => WrittenBlock): Outcome | Promise<Outcome> {
    try {
      return { kind: 'written', block: write() };
    } catch (thrown) {
      if (!isPodlineError(thrown, 'PDL_SCRATCH_FULL')) throw thrown;
      return writeInRoom(thrown, needBytes, this.parts.room, this.#output, write).then((block) => ({ kind: 'written', block }));
    }
  }
}
