/**
 * The output of one run: opens the stream, commits to it in order, asks for room when the scratch is full, and counts.
 *
 * Invariants
 *  1. One commit at a time; the next begins when the one before has ended.
 *  2. A commit that found no room has changed nothing: the same one is made again where room was given.
 */
import type { StageProgress, StreamRecord } from '../contracts/block.js';
import { isPodlineError } from '../contracts/errors.js';
import type { Scratch, StreamWriter, WriterRequest } from '../scratch/types.js';
import type { RunVoice } from './context.js';

export type RoomAnswer = 'memory' | 'ssd' | 'none';

/** What a run tells while it goes on. */
export interface RunEvents extends RunVoice {
  /** Blocks of the (combined) input that are done, of how many; rows written so far. */
  progress(blocks: number, blocksTotal: number, rows: number): void;
  /** The scratch has no room for so many bytes. */
  room(bytes: number): Promise<RoomAnswer>;
}

/** Times that one commit may be made again after room was given in memory. */
const roomTriesMax = 5;

export class Commits {
  rows = 0;
  #opening: Promise<StreamWriter> | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #writer: StreamWriter | undefined;

  /** The stream is opened with the first commit, so that the stage's code need not wait for it. */
  constructor(
    private readonly scratch: Scratch,
    private readonly request: WriterRequest,
    private readonly events: RunEvents,
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

  progress(progress: StageProgress): Promise<void> {
    return this.commit(0, (writer) => writer.commitProgress(progress));
  }

  async seal(): Promise<StreamRecord> {
    await this.#last;
    return (await this.#open()).seal();
  }

  /** Idempotent; what is under way ends first. */
  async close(): Promise<void> {
    await this.#last.catch(() => undefined);
    await this.#writer?.close();
  }

  #open(): Promise<StreamWriter> {
    this.#opening ??= this.scratch.openWriter(this.request).then((writer) => (this.#writer = writer));
    return this.#opening;
  }

  async #write<T>(needBytes: number, write: (writer: StreamWriter) => Promise<T>): Promise<T> {
    const writer = await this.#open();
    for (let tries = 1; ; tries++) {
      try {
        return await write(writer);
      } catch (thrown) {
        if (!isPodlineError(thrown, 'PDL_SCRATCH_FULL') || tries > roomTriesMax) throw thrown;
        const answer = await this.events.room(needBytes);
        if (answer === 'none') throw thrown;
        if (answer === 'ssd') writer.useMedium('ssd');
      }
    }
  }
}
