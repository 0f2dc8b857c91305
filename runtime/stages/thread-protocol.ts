/** What the thread of a slot and the worker threads of its stage say to each other, beside the ring: what is rare or does not fit. */
import type { WireError } from '../contracts/errors.js';
import type { ScratchOptions } from '../scratch/types.js';
import type { LogLevel } from './context.js';
import type { ThreadRehearsal } from './rehearsal/in-thread.js';
import type { StageModule } from './load.js';
import type { RingShape } from './ring.js';
import type { RoomAnswer } from './room.js';
import type { Outcome, RunPlan } from './workers.js';

/** How an outcome lies in a slot of the ring: each complete in itself. */
export const packing = { useRecords: true, int64AsType: 'number' } as const;

export interface ThreadSetup {
  stage: StageModule;
  stagesDir: string;
  scratch: ScratchOptions;
  ring: { memory: SharedArrayBuffer; shape: RingShape };
  /** Its number within the ring. */
  thread: number;
}

export type ToThread =
  /** `state`: of the ring, for this run alone. `isHeld`: its first block may be long in coming. */
  | { type: 'begin'; state: number; plan: RunPlan; isHeld: boolean }
  /** The block that the thread waits for may be there. */
  | { type: 'touch' }
  | { type: 'cancel' }
  | { type: 'roomAnswer'; answer: RoomAnswer }
  /** Ends with the first block. */
  | ({ type: 'rehearse' } & ThreadRehearsal);

export type FromThread =
  | { type: 'warm' }
  | { type: 'unloadable'; error: WireError }
  | { type: 'rehearsed'; runs: number }
  | { type: 'unrehearsed'; error: WireError }
  /** For a block whose slot says that a message has it. */
  | { type: 'outcome'; state: number; block: number; outcome: Outcome }
  | { type: 'failed'; state: number; block: number; error: WireError }
  | { type: 'room'; state: number; bytes: number }
  | { type: 'log'; state: number; level: LogLevel; message: string }
  | { type: 'note'; state: number; note: string };
/** The part of them that belongs to a run. */
export type FromRun = Extract<FromThread, { state: number }>;
