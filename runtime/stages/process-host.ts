/**
 * A TypeScript stage in a process of its own: what it does to itself (a crash, a leak, a segmentation fault in an addon, a loop that
 * never ends) it does to that process, and the shim lives to tell.
 *
 * Invariants
 *  1. A run whose process ends is over with PDL_STAGE_DIED (PDL_STAGE_MEMORY when its heap was full), with the tail of its stderr.
 *  2. A lost process is replaced at once, while the slot is parked, and at the latest by the next run.
 *  3. A cancelled run ends within `cancelGraceMs`: then the process is killed.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { parseBytes } from '../config/units.js';
import { noBytes } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import type { RunRequest } from '../contracts/shim-protocol.js';
import { entryPath } from '../platform/entries.js';
import type { RunEvents } from './commits.js';
import type { HostSetup, StageHost } from './host.js';
import type { RunNews } from './news.js';
import type { FromStageProcess, ToStageProcess } from './process-protocol.js';
import type { RunEnd } from './runner.js';
import { Tail } from './tail.js';

/** From a cancel to the end of a process that does not heed it. */
const cancelGraceMs = 1_500;

export class ProcessHost implements StageHost {
  #process: StageProcess | undefined;
  #closed = false;

  constructor(private readonly setup: HostSetup) {}

  load(): Promise<void> {
    return this.#ready();
  }

  async run(request: RunRequest, events: RunEvents, news: RunNews, signal: AbortSignal, startedAtMs: number): Promise<RunEnd> {
    try {
      await this.#ready();
    } catch (thrown) {
      return failedEnd(thrown, signal, startedAtMs);
    }
    const child = this.#process;
    if (child === undefined)
      return failedEnd(new PodlineError('PDL_INTERNAL', `stage ${this.setup.stage.name} has no process`), signal, startedAtMs);
    let killTimer: NodeJS.Timeout | undefined;
    const cancel = (): void => {
      child.send({ type: 'cancel', reason: String(signal.reason) });
      killTimer = setTimeout(() => child.kill(), cancelGraceMs);
    };
    signal.addEventListener('abort', cancel, { once: true });
    if (signal.aborted) cancel();
    news.onNews((told) => child.send({ type: 'news', news: told }));
    try {
      return await child.run(request, events, performance.now() - startedAtMs);
    } catch (thrown) {
      if (!this.#closed) void this.#ready().catch(() => undefined);
      return failedEnd(thrown, signal, startedAtMs);
    } finally {
      news.onNews(undefined);
      signal.removeEventListener('abort', cancel);
      clearTimeout(killTimer);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#process?.close();
  }

  async #ready(): Promise<void> {
    if (this.#process?.alive !== true) this.#process = new StageProcess(this.setup);
    await this.#process.loaded;
  }
}

function failedEnd(thrown: unknown, signal: AbortSignal, startedAtMs: number): RunEnd {
  const times = { startMs: 0, workMs: performance.now() - startedAtMs, blocks: 0, rows: 0, bytes: noBytes() };
  if (signal.aborted) return { outcome: 'cancelled', ...times };
  return { outcome: 'failed', error: PodlineError.from(thrown, 'PDL_STAGE_DIED').toWire(), ...times };
}

class StageProcess {
  alive = true;
  readonly loaded: Promise<void>;
  readonly #child: ChildProcess;
  readonly #tail = new Tail(limits.logTailBytes);
  #onLoaded: Settle<void> | undefined;
  #running: (Settle<RunEnd> & { events: RunEvents }) | undefined;

  constructor(private readonly setup: HostSetup) {
    const { memory } = setup.stage.resources;
    const heapMb = memory === undefined ? undefined : Math.max(32, Math.floor(parseBytes(memory) / 1_048_576));
    this.#child = fork(entryPath('runtime/stages/process-entry'), [], {
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      execArgv: heapMb === undefined ? [] : [`--max-old-space-size=${heapMb}`],
    });
    this.loaded = new Promise((resolve, reject) => (this.#onLoaded = { resolve, reject }));
    this.loaded.catch(() => undefined);
    this.#child.stdout?.on('data', (chunk: Buffer) => process.stdout.write(chunk));
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#tail.push(chunk);
      process.stderr.write(chunk);
    });
    this.#child.on('message', (message) => this.#take(message as FromStageProcess));
    this.#child.on('error', (error) => this.#lose(error.message));
    // Its last words may come behind its exit: `close` waits for them.
    this.#child.on('close', (code, signal) => this.#lose(signal === null ? `exit code ${String(code)}` : signal));
    // The limit holds for the process as a whole: within it, the stage needs no thread to be held by one.
    this.send({
      type: 'load',
      setup: { ...setup, stage: { ...setup.stage, resources: { ...setup.stage.resources, memory: undefined } } },
    });
  }

  send(message: ToStageProcess): void {
    if (this.#child.connected) this.#child.send(message, () => undefined);
  }

  run(request: RunRequest, events: RunEvents, waitedMs: number): Promise<RunEnd> {
    this.#tail.clear();
    return new Promise((resolve, reject) => {
      if (!this.alive) {
        reject(new PodlineError('PDL_STAGE_DIED', `the process of stage ${this.setup.stage.name} is gone`));
        return;
      }
      this.#running = { resolve, reject, events };
      this.send({ type: 'run', request, waitedMs });
    });
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async close(): Promise<void> {
    if (!this.alive) return;
    const closed = once(this.#child, 'close');
    this.send({ type: 'close' });
    const timer = setTimeout(() => this.kill(), cancelGraceMs);
    await closed;
    clearTimeout(timer);
  }

  #take(message: FromStageProcess): void {
    const events = this.#running?.events;
    switch (message.type) {
      case 'loaded':
        this.#onLoaded?.resolve();
        return;
      case 'unloadable':
        this.#onLoaded?.reject(PodlineError.fromWire(message.error));
        this.kill();
        return;
      case 'progress':
        events?.progress(message.blocks, message.blocksTotal, message.rows);
        return;
      case 'note':
        events?.note(message.note);
        return;
      case 'log':
        events?.log(message.level, message.message);
        return;
      case 'room':
        void events?.room(message.bytes).then((answer) => this.send({ type: 'roomAnswer', answer }));
        return;
      case 'ended': {
        const running = this.#running;
        this.#running = undefined;
        running?.resolve(message.end);
        return;
      }
    }
  }

  #lose(how: string): void {
    if (!this.alive) return;
    this.alive = false;
    const { name, resources } = this.setup.stage;
    const logTail = this.#tail.text;
    const isHeap = logTail?.includes('heap out of memory') === true;
    const error = isHeap
      ? new PodlineError(
          'PDL_STAGE_MEMORY',
          `the process of stage ${name} went over its memory limit${resources.memory === undefined ? '' : ` of ${resources.memory}`}`,
          { place: name, logTail },
        )
      : new PodlineError('PDL_STAGE_DIED', `the process of stage ${name} ended before its work did: ${how}`, {
          place: name,
          logTail,
        });
    this.#onLoaded?.reject(error);
    this.#running?.reject(error);
    this.#running = undefined;
  }
}

interface Settle<T> {
  resolve: (value: T) => void;
  reject: (error: unknown) => void;
}
