/**
 * The life of a slot: a stage is loaded once, then run when the agent says so, and parked in between.
 *
 * Owns the stage's host and the run that is under way. Leaves the socket to `connection.ts`.
 *
 * Invariants (numbers of `contracts/shim-protocol.ts`)
 *  1. Whatever a stage does, the slot parks: a stage that cannot be loaded is `unusable`, a run that fails has `ended`.
 *  2. One run at a time: a second start is answered with a failure and changes nothing. A run that is prepared begins by itself, and gives
 *     way to any other that is started.
 *  4. `ended` is said when the run is over: its commits are in the index, and nothing of it is at work any more.
 */
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { noBytes } from '../contracts/block.js';
import { PodlineError, type WireError } from '../contracts/errors.js';
import type { ResolvedStage } from '../contracts/manifest.js';
import type { AgentToShim, RunEnded, RunRequest, ShimToAgent, Welcome } from '../contracts/shim-protocol.js';
import { fileSafe } from '../platform/files.js';
import { collectYoung } from '../platform/heap.js';
import type { Logger } from '../platform/logger.js';
import type { RunEvents } from './commits.js';
import type { HostSetup, StageHost } from './host.js';
import { RunNews } from './news.js';
import type { RoomAnswer } from './room.js';
import type { RunEnd } from './runner.js';
import { Progress } from './progress.js';

export interface SlotParts {
  slot: number;
  step: string;
  stagesDir: string;
  hostOf: (setup: HostSetup) => Promise<StageHost>;
  /** Says something to the agent, if one listens; several things at once where they belong together. */
  send: (...messages: ShimToAgent[]) => void;
  logger: Logger;
  /** Whether it makes itself warm while it waits for its first run. */
  rehearses?: boolean | undefined;
}

/** A slot that has been parked as long has let go of what its run had mapped, and nobody waits for it, as a rule. */
const parkedMs = 20;
/** A slot that was ready as long without a run will have none for a while, as a rule, and others are through with their start. */
const idleMs = 100;

interface Loaded {
  /** Of the welcome that it was loaded for: the same again needs no loading. */
  key: string;
  /** It takes its input block by block, and may begin before that is whole. */
  mayFollow: boolean;
  host: Promise<StageHost>;
}

interface Running {
  runId: string;
  /** It was prepared, and not started so far. */
  prepared: RunRequest | undefined;
  abort: AbortController;
  news: RunNews;
  progress: Progress;
  over: Promise<void>;
  /** What the stage's code threw outside of any call of ours. */
  stray?: PodlineError | undefined;
  answerRoom?: ((answer: RoomAnswer) => void) | undefined;
}

export class Slot {
  #loaded: Loaded | undefined;
  #running: Running | undefined;
  /** It is started as soon as what was prepared in its place is over. */
  #next: RunRequest | undefined;
  /** The last run that was over before it was started: the word of its end and that of its start may have crossed. */
  #overEarly: RunRequest | undefined;
  #rehearsing: Promise<void> | undefined;
  /** The stage's code was called, or will not be: nothing is left to rehearse for. */
  readonly #unrehearsed = new AbortController();
  #closed = false;

  constructor(private readonly parts: SlotParts) {}

  take(message: AgentToShim): void {
    switch (message.type) {
      case 'welcome':
        void this.#load(message);
        return;
      case 'start':
        this.#start(message, performance.now());
        return;
      case 'prepare':
        this.#prepare(message);
        return;
      case 'cancel':
        if (this.#next?.runId === message.runId) this.#dropNext();
        else if (this.#running?.runId === message.runId) this.#cancel(message.reason);
        return;
      case 'roomAnswer':
        if (this.#running?.runId === message.runId) this.#running.answerRoom?.(message.answer);
        return;
      case 'inputGrew':
      case 'followed':
        if (this.#running?.runId === message.runId) this.#running.news.take(message.type);
        return;
      default:
        throw new PodlineError(
          'PDL_PROTOCOL',
          `the agent said ${String((message as { type: unknown }).type)}, which this shim does not know`,
        );
    }
  }

  /** Settles when nothing of a run is at work any more. */
  async cancel(reason: string): Promise<void> {
    this.#dropNext();
    this.#cancel(reason);
    await this.#running?.over;
  }

  /** An error that nobody awaited: the run that it came from fails; the slot stays. */
  stray(thrown: unknown): void {
    const error = PodlineError.from(thrown, 'PDL_STAGE_FAILED', { logTail: thrown instanceof Error ? thrown.stack : undefined });
    this.parts.logger.error({ err: error.message, stack: error.logTail }, 'an error that nobody awaited');
    if (this.#running === undefined) return;
    this.#running.stray ??= error;
    this.#cancel(error.message);
  }

  /** Cancels, and lets the stage go. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#unrehearsed.abort();
    await this.cancel('the slot is being ended');
    await this.#rehearsing;
    const loaded = this.#loaded;
    this.#loaded = undefined;
    const host = await loaded?.host.catch(() => undefined);
    await host?.close();
  }

  async #load(welcome: Welcome): Promise<void> {
    const { step, send, logger } = this.parts;
    const beganMs = performance.now();
    const key = JSON.stringify([welcome.stage, welcome.scratch, welcome.workers]);
    if (this.#loaded?.key !== key)
      this.#loaded = { key, mayFollow: mayFollow(welcome.stage), host: this.#replaced(this.#loaded, welcome) };
    const loading = this.#loaded;
    try {
      await loading.host;
      if (this.#loaded !== loading) return;
      send({ type: 'ready', step, loadMs: performance.now() - beganMs });
      if (this.parts.rehearses === true) setTimeout(() => this.#rehearse(loading), idleMs).unref();
    } catch (thrown) {
      if (this.#loaded !== loading) return;
      // The next welcome tries again.
      this.#loaded = undefined;
      const error = PodlineError.from(thrown, 'PDL_STAGE_LOAD');
      logger.error({ err: error.message, code: error.code }, 'the stage cannot be loaded');
      send({ type: 'unusable', step, error: error.toWire() });
    }
  }

  async #replaced(before: Loaded | undefined, { stage, scratch, workers }: Welcome): Promise<StageHost> {
    const { slot, stagesDir, hostOf } = this.parts;
    await this.cancel('another stage was put into the slot');
    const old = await before?.host.catch(() => undefined);
    await old?.close();
    const { dir, spillDir, sizeBytesMax, medium } = scratch;
    const host = await hostOf({
      stage,
      workers,
      stagesDir,
      scratch: { dir, spillDir, sizeBytesMax, medium, role: 'stage' },
      runsDir: join(dir, 'runs', `${slot}-${fileSafe(stage.name)}`),
    });
    try {
      await host.load();
    } catch (thrown) {
      await host.close().catch(() => undefined);
      throw thrown;
    }
    if (this.#closed) await host.close();
    return host;
  }

  /** Once a process: what was compiled stays. */
  #rehearse(loaded: Loaded): void {
    const { signal } = this.#unrehearsed;
    if (signal.aborted || this.#loaded !== loaded) return;
    this.#rehearsing ??= (async () => {
      const beganMs = performance.now();
      try {
        const runs = await (await loaded.host).rehearse?.(signal);
        this.parts.logger.debug({ runs, ms: performance.now() - beganMs }, 'rehearsed');
      } catch (thrown) {
        const { message } = PodlineError.from(thrown);
        this.parts.logger.warn({ err: message }, 'the rehearsal failed: the first run will take some milliseconds more');
      }
    })();
  }

  #start(request: RunRequest, startedAtMs: number): void {
    const { runId } = request;
    const running = this.#running;
    if (this.#next === undefined && running?.prepared !== undefined) {
      if (isSameRun(running.prepared, request)) this.#goOn(running, request);
      else this.#startInstead(running, request, startedAtMs);
      return;
    }
    if (this.#overEarly !== undefined && isSameRun(this.#overEarly, request)) return;
    this.#unrehearsed.abort();
    if (running !== undefined) {
      this.#refuse(runId, new PodlineError('PDL_PROTOCOL', `run ${running.runId} is under way in this slot`));
      return;
    }
    const loaded = this.#loaded;
    if (loaded === undefined) {
      this.#refuse(runId, new PodlineError('PDL_SLOT_UNUSABLE', 'no stage is loaded in this slot'));
      return;
    }
    if (!loaded.mayFollow && (request.growing ?? []).length > 0) {
      const what = 'the stage in this slot takes its inputs whole';
      this.#refuse(runId, new PodlineError('PDL_PROTOCOL', `${what}, and ${String(request.growing)} grow still`));
      return;
    }
    this.#begin(loaded, request, startedAtMs, false);
  }

  /** What stands in the way of it is told when the run is started. */
  #prepare(request: RunRequest): void {
    const loaded = this.#loaded;
    if (this.#running === undefined && loaded?.mayFollow === true) this.#begin(loaded, request, performance.now(), true);
  }

  #begin(loaded: Loaded, request: RunRequest, startedAtMs: number, isHeld: boolean): void {
    const { runId } = request;
    const news = new RunNews(isHeld);
    const progressOf = (growing: readonly string[] | undefined): Progress =>
      new Progress({ runId, growing }, news, (message) => this.parts.send(message));
    const running: Running = {
      ...{ runId, news, prepared: isHeld ? request : undefined, progress: progressOf(request.growing) },
      ...{ abort: new AbortController(), over: Promise.resolve() },
    };
    news.onBegun((growing) => {
      running.progress = progressOf(growing);
      // Behind the call of the stage's code.
      if (!this.#unrehearsed.signal.aborted) setImmediate(() => this.#unrehearsed.abort());
    });
    this.#running = running;
    running.over = this.#run(loaded, running, request, startedAtMs);
  }

  /** It is wanted, on what is there if not all of it is. */
  #goOn(running: Running, { growing }: RunRequest): void {
    running.prepared = undefined;
    running.news.begin(growing);
    running.news.take('inputGrew');
  }

  #startInstead(running: Running, request: RunRequest, startedAtMs: number): void {
    this.#next = request;
    this.#cancel('another run is wanted in its place');
    void running.over.then(() => {
      if (this.#next !== request) return;
      this.#next = undefined;
      this.#start(request, startedAtMs);
    });
  }

  #dropNext(): void {
    const next = this.#next;
    this.#next = undefined;
    if (next !== undefined) this.parts.send({ ...failed(next.runId, cancelled.toWire()), outcome: 'cancelled' });
  }

  async #run(loaded: Loaded, running: Running, request: RunRequest, startedAtMs: number): Promise<void> {
    const { runId } = request;
    let ended: RunEnded;
    try {
      const host = await loaded.host;
      const end = await host.run(request, this.#events(running), running.news, running.abort.signal, startedAtMs);
      ended = asEnded(runId, end, running.stray);
    } catch (thrown) {
      ended = failed(runId, PodlineError.from(thrown, 'PDL_STAGE_FAILED').toWire());
    }
    this.#running = undefined;
    this.#overEarly = ended.outcome === 'cancelled' ? undefined : running.prepared;
    // What was prepared of it before its shard was leased anew is not its end.
    if (this.#next?.runId !== runId) this.parts.send(...running.progress.end(), ended);
    setTimeout(() => {
      if (this.#running?.news.isHeld !== false) collectYoung();
    }, parkedMs).unref();
  }

  #cancel(reason: string): void {
    this.#running?.abort.abort(new Error(reason));
    this.#running?.answerRoom?.('none');
  }

  #refuse(runId: string, error: PodlineError): void {
    this.parts.send(failed(runId, error.toWire()));
  }

  #events(running: Running): RunEvents {
    const { send, logger } = this.parts;
    const { runId } = running;
    return {
      progress: (blocks, blocksTotal, rows) => running.progress.blocks(blocks, blocksTotal, rows),
      note: (note) => running.progress.note(note),
      log: (level, message) => {
        logger[level]({ runId }, message);
        send({ type: 'log', runId, level, message });
      },
      room: (bytes) =>
        new Promise((resolve) => {
          if (running.abort.signal.aborted) {
            resolve('none');
            return;
          }
          running.answerRoom = (answer) => {
            running.answerRoom = undefined;
            resolve(answer);
          };
          send({ type: 'room', runId, bytes: Math.ceil(bytes) });
        }),
    };
  }
}

/** The shard may have been leased anew meanwhile, or what makes the input have changed. */
const isSameRun = (one: RunRequest, other: RunRequest): boolean =>
  one.runId === other.runId && one.epoch === other.epoch && one.lineage.digest === other.lineage.digest;

const cancelled = new PodlineError('PDL_STAGE_FAILED', 'the run was cancelled before it began');

const mayFollow = ({ command, declares }: ResolvedStage): boolean => command === undefined && declares?.form !== 'files';

function asEnded(runId: string, { outcome, error, ...counts }: RunEnd, stray: PodlineError | undefined): RunEnded {
  // What looks like a cancel was one of ours, because of an error of the stage.
  if (outcome === 'cancelled' && stray !== undefined)
    return { type: 'ended', runId, outcome: 'failed', error: stray.toWire(), ...counts };
  return { type: 'ended', runId, outcome, ...(error === undefined ? {} : { error }), ...counts };
}

const failed = (runId: string, error: WireError): RunEnded => ({
  type: 'ended',
  runId,
  outcome: 'failed',
  error,
  startMs: 0,
  workMs: 0,
  blocks: 0,
  rows: 0,
  bytes: noBytes(),
});
