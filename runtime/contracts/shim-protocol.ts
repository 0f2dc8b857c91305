/**
 * What agent and shim say to each other, over a unix socket. `docs/shim-protocol.md` is the prose.
 *
 * A frame is a 4-byte big-endian length and that many bytes of MessagePack: one map with a field `type`
 * (plain maps, no extensions, so that any language reads it). A frame is at most `shimFrameBytesMax`.
 *
 *   shim                                   agent
 *    │ hello(slot, step, stage, instance) ──►│   the container is there: the swap is done
 *    │◄── welcome(stage spec)                │   what to load; or retire: this stage is not wanted
 *    │ ready(step, loadMs) ────────────────►│   loaded and warm: a hand-over is now one message
 *    │◄── prepare(run) ──────────────────────│   likely the next: all but the call of the stage's code, until its inputs are whole
 *    │◄── start(run) ────────────────────────│   the hand-over, or the word that it was wanted
 *    │ progress(run, …)* ──────────────────►│
 *    │◄── inputGrew(run, stream, blocks)*    │   the stage before it works still: streaming
 *    │ room(run, bytes) ──► ◄── roomAnswer   │   the scratch is full: may I have room?
 *    │ ended(run, outcome) ────────────────►│   everything it says is committed is committed
 *    │        … parked, until start or SIGTERM │
 *
 * A shim of the kind `static` runs programs for the agent, which does what needs the scratch: in the place of `start` and `ended` it is
 * sent `execute` and says `exited`.
 *
 * Invariants
 *  1. A shim never exits by itself: an exit makes the kubelet restart it with growing back-off. It parks.
 *  2. One run at a time per shim. A run that was prepared gives way to any other that is started.
 *  3. After the socket breaks, the shim cancels its run, and connects and says hello again with the same
 *     instance; the agent then decides what to start.
 *  4. `ended` with `committed` is said after the commit is in the index; the agent believes the index, not the message.
 */
import { z } from 'zod';
import { wireErrorSchema, bytesByMediumSchema } from './shard.js';
import type { Lineage, StreamKind } from './block.js';
import type { Parameters, ResolvedStage } from './manifest.js';
import type { TraceContext } from './trace.js';

export { shimFrameBytesMax, shimProtocolVersion } from './shim-frames.js';

export interface RunRequest {
  runId: string;
  shardId: string;
  shardKey: string;
  epoch: number;
  /** 1 for the first run of this stage on this shard under this lease. */
  attempt: number;
  /** Constants of the stage and parameters of the shard, checked, in one. */
  parameters: Parameters;
  /** Streams to read, in the order of `after`. */
  inputs: string[];
  lineage: Lineage;
  /** Blocks of the (combined) input that are committed already: go on behind them. */
  consumed: number;
  /**
   * Inputs that are not sealed yet: their blocks are read as they are committed (`inputGrew`), and the run ends behind the last. Only for
   * stages of the forms block, row, bytes and aggregate, which take their input block by block; a shim that runs commands alone never
   * gets it.
   */
  growing?: string[] | undefined;
  /** The span of this run, for what the stage itself calls. */
  trace?: TraceContext | undefined;
}

export const helloSchema = z.object({
  type: z.literal('hello'),
  protocol: z.int(),
  slot: z.int().nonnegative(),
  step: z.string(),
  stage: z.string(),
  /** Random per process: tells a restarted shim from a reconnected one. */
  instance: z.string(),
  pid: z.int(),
  kind: z.enum(['node', 'static']),
});
export const readySchema = z.object({ type: z.literal('ready'), step: z.string(), loadMs: z.number() });
export const unusableSchema = z.object({ type: z.literal('unusable'), step: z.string(), error: wireErrorSchema });
export const progressSchema = z.object({
  type: z.literal('progress'),
  runId: z.string(),
  blocks: z.int(),
  blocksTotal: z.int(),
  rows: z.number(),
  note: z.string().optional(),
});
export const roomSchema = z.object({ type: z.literal('room'), runId: z.string(), bytes: z.int() });
export const endedSchema = z.object({
  type: z.literal('ended'),
  runId: z.string(),
  outcome: z.enum(['committed', 'failed', 'cancelled']),
  error: wireErrorSchema.optional(),
  /** From the arrival of `start` to the first call of the stage's code; of a prepared run, from its inputs being seen to be whole. */
  startMs: z.number(),
  /** From the arrival of `start` to the end, without `waitedMs`. */
  workMs: z.number(),
  /** Of a run with `growing` inputs: how long it had done all blocks that there were, or was held back, and waited. Absent: not at all. */
  waitedMs: z.number().optional(),
  /** By the clock that all processes of a node share: the first call of the stage's code. Absent: it was not called, or not measured. */
  calledAtMs: z.number().optional(),
  /** By the same clock: the end, the output in the index. */
  endedAtMs: z.number().optional(),
  blocks: z.int(),
  rows: z.number(),
  bytes: bytesByMediumSchema,
});
export const logSchema = z.object({
  type: z.literal('log'),
  runId: z.string().optional(),
  level: z.enum(['debug', 'info', 'warn', 'error']),
  message: z.string(),
});

/** What became of the program of an `execute`: one of `code`, `signal`, `unstartable` and `refused`. Only from a shim of the kind `static`. */
export const exitedSchema = z.object({
  type: z.literal('exited'),
  runId: z.string(),
  /** It ended by itself. */
  code: z.int().optional(),
  /** Number of the signal that ended it. */
  signal: z.int().optional(),
  /** It could not be started; `missing`: program or folder are not there. */
  unstartable: z.string().optional(),
  missing: z.boolean().optional(),
  /** It was not tried: another one is under way. */
  refused: z.string().optional(),
  /** The last `limits.logTailBytes` of what it said on stderr, and on stdout where that is no file. */
  logTail: z.string().optional(),
});

export const shimToAgentSchema = z.discriminatedUnion('type', [
  helloSchema,
  readySchema,
  unusableSchema,
  progressSchema,
  roomSchema,
  endedSchema,
  exitedSchema,
  logSchema,
]);
export type ShimToAgent = z.infer<typeof shimToAgentSchema>;
export type Hello = z.infer<typeof helloSchema>;
export type RunEnded = z.infer<typeof endedSchema>;
export type ProgramExited = z.infer<typeof exitedSchema>;

export interface Welcome {
  type: 'welcome';
  stage: ResolvedStage;
  kind: StreamKind;
  /** What the shim needs to open the scratch. */
  scratch: { dir: string; sizeBytesMax: number; spillDir: string; medium: 'memory' | 'ssd' };
  /** Threads for a stage whose `workers` is auto. */
  workers: number;
}
export type AgentToShim =
  | Welcome
  | ({ type: 'start' } & RunRequest)
  /**
   * A run that will be started as soon as its inputs, which are all named in `growing` unless they are whole, are so. The shim makes
   * everything ready and begins by itself at the moment at which the index has them whole under the lineage of the request. A hint: a shim
   * that cannot take it, or is at work, lets it be. `start` of the same run, epoch and lineage goes on with it, of another one ends it.
   */
  | ({ type: 'prepare' } & RunRequest)
  | { type: 'cancel'; runId: string; reason: string }
  /** An input of the run has this many committed blocks now; `sealed`: and will have no more. Only for inputs named in `growing`. */
  | { type: 'inputGrew'; runId: string; stream: string; blocks: number; sealed: boolean }
  /** Another run reads this one's stream as it grows: from now on say `progress` after every commit. */
  | { type: 'followed'; runId: string }
  /** `ssd`: there is room, but on SSD: put the next segment there. */
  | { type: 'roomAnswer'; runId: string; answer: 'memory' | 'ssd' | 'none' };

/**
 * To a shim of the kind `static`, which knows nothing of scratch and streams: run this program. The agent has laid out its input and
 * takes in its output. Folders and files are named as the slot's container sees them, which is as the agent does.
 */
export interface Execute {
  type: 'execute';
  runId: string;
  command: readonly string[];
  /** Absent: where the shim itself was started, in a container the image's working directory. */
  cwd?: string | undefined;
  /** Beside the shim's own environment, without the names in `without`. */
  env: Record<string, string>;
  without: readonly string[];
  /** Files in the place of stdin (else empty) and stdout (else what stderr is). */
  stdin?: string | undefined;
  stdout?: string | undefined;
}
export type AgentToStaticShim = Welcome | Execute | Extract<AgentToShim, { type: 'cancel' }>;
