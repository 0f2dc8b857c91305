/** Between the benchmark and the processes of a chain, over Node's channel. */
import type { Job, Work } from '../work/work.js';
import type { ChainDone } from './chain-stage.js';
import type { Carrying } from './forms.js';

export type StreamName = 'http' | 'grpc' | 'pipe';

/** Where functions find the store between them. */
export type Store =
  | { name: 'redis'; socket: string }
  | { name: 'objects'; port: number }
  | { name: 'postgres'; dir: string; user: string }
  | { name: 'files'; dir: string };

export interface ChainSetup {
  work: Work;
  carrying: Carrying;
  /** Of the stage; -1 is the source. */
  index: number;
  by: { kind: 'stream'; name: StreamName } | { kind: 'store'; store: Store } | { kind: 'nothing' };
}

/** `blocks`: how many it put into the store. */
export type Done = ChainDone & { blocks: number };

export type ToChain =
  | { type: 'setup'; setup: ChainSetup }
  | { type: 'connect'; ports: Record<string, number> }
  | { type: 'job'; job: Job; blocks: Record<string, number> }
  | { type: 'remove'; job: string; keys: string[] };

export type FromChain =
  | { type: 'ready'; port: number }
  | { type: 'done'; done: Done }
  | { type: 'removed'; job: string }
  | { type: 'failed'; message: string };
