/** What a shim and the process in which its stage runs (executor `process`) say to each other over Node's own channel. */
import type { WireError } from '../contracts/errors.js';
import type { RunRequest } from '../contracts/shim-protocol.js';
import type { LogLevel } from './context.js';
import type { HostSetup } from './host.js';
import type { News } from './news.js';
import type { RoomAnswer } from './room.js';
import type { RunEnd } from './runner.js';

export type ToStageProcess =
  | { type: 'load'; setup: HostSetup }
  /** `waitedMs`: how long ago the run was asked for. */
  | { type: 'run'; request: RunRequest; waitedMs: number }
  | { type: 'cancel'; reason: string }
  | { type: 'news'; news: News }
  | { type: 'roomAnswer'; answer: RoomAnswer }
  | { type: 'close' };
export type FromStageProcess =
  | { type: 'loaded' }
  | { type: 'unloadable'; error: WireError }
  | { type: 'progress'; blocks: number; blocksTotal: number; rows: number }
  | { type: 'note'; note: string }
  | { type: 'log'; level: LogLevel; message: string }
  | { type: 'room'; bytes: number }
  | { type: 'ended'; end: RunEnd };
