/**
 * The output of one run: opens the stream, commits to it in order, asks for room when the scratch is full, and counts.
 *
 * Invariants
 *  1. One commit at a time; the next begins when the one before has ended.
 *  2. A commit that found no room has changed nothing: the same one is made again where room was given.
 */
import type { StageProgress, StreamRecord } from '../contracts/block.js';
import type { Scratch, StreamWriter, WriterRequest } from '../scratch/types.js';
import type { RunVoice } from './context.js';
import { writeInRoom, type RoomAnswer } from './room.js';
import type { Outcome } from './workers.js';

/** What a run tells while it goes on. */
export interface RunEvents extends RunVoice {
  /** Blocks of the (combined) input that are done, of how many; rows written so far. Called after every commit. */
  progress(blocks: number, blocksTotal: number, rows: number): void;
  /** The scratch has no room for so many bytes. */
  room(bytes: number): Promise<RoomAnswer>;
}

export class Commits {
  rows = 0;
  #opening: Promise<StreamWriter> | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #writer: StreamWriter | undefined;

  /** The stream is opened with the first commit, so that the stage's code need not wait for it. */
  constructor(
    private readonly scratch: Scratch,
    private readonly request: WriterRequest,
    private readonly events: Pick<RunEvents, 'room'>,
  ) {}

  get written(): { memory: number; ssd: number } {
    return this.#writer?.written ?? { memory: 0, ssd: 0 };
  }

  /** Begins a commit when the one before is through; `needBytes` is what it asks for where there is no room. */
  commit<T>(needBytes: number, write: (writer: StreamWriter) => Promise<T>): Promise<T> {
    const made = this.#last.then(() => this.#write(needBytes, write));
    this.#last = made;
    made.catch(() => undefined);
    return made;
  }

  /** What was written for some blocks, with the progress behind the last of them, in one transaction. */
  async outcomes(outcomes: readonly Outcome[], progress: StageProgress): Promise<void> {
    const blocks = outcomes.flatMap((outcome) => (outcome.kind === 'written' ? [outcome.block] : []));
    if (blocks.length === 0) await this.progress(progress);
    else await this.commit(0, (writer) => writer.commitWritten(blocks, progress));
    for (const { rows } of blocks) this.rows += rows;
  }

  progress(progress: StageProgress): Promise<void> {
    return this.commit(0, (writer) => writer.commitProgress(progress));
  }

  /** Whoever waits for the stream is told at once. */
  async seal(): Promise<StreamRecord> {
    await this.#last;
    const sealed = await (await this.open()).seal();
    this.#ring();
    return sealed;
  }

  /** Idempotent; what is under way ends first. */
  async close(): Promise<void> {
    await this.#last.catch(() => undefined);
    await this.#writer?.close();
  }

  /** Opens the stream, if it is not open yet. It is there when the call returns; the promise is for what may have gone wrong. */
  open(): Promise<StreamWriter> {
    this.#opening ??= this.scratch.openWriter(this.request).then((writer) => {
      this.#ring();
      return (this.#writer = writer);
    });
    return this.#opening;
  }

  #ring(): void {
    this.scratch.ring(this.request.shardId, this.request.stream);
  }

  async #write<T>(needBytes: number, write: (writer: StreamWriter) => Promise<T>): Promise<T> {
    const writer = await this.open();
    try {
      return await write(writer);
    } catch (thrown) {
      return writeInRoom(
        thrown,
        needBytes,
        (bytes) => this.events.room(bytes),
        writer,
        () => write(writer),
      );
    }
  }
}
