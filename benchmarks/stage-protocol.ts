/** Between the benchmark and the processes of a baseline, over Node's channel. */
import type { StageTime } from './stage-code.js';
import type { Edge, Job, Workload } from './workload.js';

export type CodecName = 'ndjson' | 'records' | 'columns';

export interface StageSetup {
  transport: 'http' | 'redis' | 'one';
  workload: Pick<Workload, 'manifest' | 'pipeline' | 'stagesDir' | 'parameters' | 'resultStages'>;
  edges: Edge[];
  codec: CodecName;
  /** `input` is the process that reads the source. */
  stage: string;
  /** redis: path of the server's socket. */
  socket?: string | undefined;
}

/** What one process did for one job. */
export interface StageDone {
  stage: string;
  blocks: number;
  work: StageTime;
  /** Of the whole process since the job reached it, ms. */
  cpuMs: number;
  networkRead: number;
  networkWritten: number;
  sourceReadMemory: number;
  sourceReadSsd: number;
}

export type ToStage =
  | { type: 'setup'; setup: StageSetup }
  | { type: 'connect'; ports: Record<string, number> }
  | { type: 'job'; job: Job; blocks?: Record<string, number> | undefined }
  | { type: 'forget'; keys: string[] };

export type FromStage = { type: 'ready'; port: number } | { type: 'done'; done: StageDone } | { type: 'failed'; message: string };
