/**
 * A line on a laptop: one agent process and one shim process per slot. Stands for what a pod is in a cluster:
 * it keeps its processes running, and swaps a slot by ending one shim and starting another.
 *
 * Owns the processes. Leaves to the agent everything that happens on the scratch.
 *
 * Invariants
 *  1. A slot has at most one shim; a swap waits for the exit of the one before.
 *  2. Swaps of one slot are carried out one after another; of several that wait, only the last one is.
 */
import { join } from 'node:path';
import { env } from '../contracts/env.js';
import { limits } from '../contracts/limits.js';
import { entryPath, staticShimPath } from '../platform/entries.js';
import type { Logger } from '../platform/logger.js';
import { ManagedProcess, type ProcessExit } from './managed-process.js';
import type { Places } from './places.js';

export interface LocalLineOptions {
  line: string;
  pipeline: string;
  group: string;
  slots: number;
  gracePeriodMs: number;
  coordinatorUrl: string;
  token: string;
  places: Places;
  logger: Logger;
  /** A process started or ended. */
  onChange: () => void;
  onExit: (line: string, role: string, exit: ProcessExit) => void;
}

interface Slot {
  process: ManagedProcess | undefined;
  /** The swap under way and those behind it. */
  swapping: Promise<void>;
  /** Step of the newest swap that was asked for. */
  wanted: string | undefined;
}

export interface ProcessView {
  line: string;
  role: string;
  pid: number;
}

export class LocalLine {
  readonly #agent: ManagedProcess;
  readonly #slots: Slot[];
  #ended = false;
  #wake: () => void = () => undefined;
  readonly #endSignal = new Promise<void>((resolve) => {
    this.#wake = resolve;
  });

  constructor(private readonly options: LocalLineOptions) {
    this.#slots = Array.from({ length: options.slots }, () => ({
      process: undefined,
      swapping: Promise.resolve(),
      wanted: undefined,
    }));
    this.#agent = this.#process('agent', [process.execPath, entryPath('sidecars/agent/main')], {
      [env.coordinatorUrl]: options.coordinatorUrl,
      [env.token]: options.token,
      [env.pipeline]: options.pipeline,
      [env.group]: options.group,
      [env.node]: 'local',
      [env.slots]: String(options.slots),
      [env.ssdDir]: options.places.ssdDir,
      [env.volumeDir]: options.places.volumeDir,
      [env.scratchMedium]: options.places.scratchMedium,
    });
  }

  get line(): string {
    return this.options.line;
  }

  get slots(): number {
    return this.#slots.length;
  }

  async start(): Promise<void> {
    await this.#agent.start();
  }

  /** Resolves when the new shim was started; that it is there, its hello says. `isCommand`: the stage needs no Node. */
  async swap(slotIndex: number, stage: string, step: string, isCommand: boolean): Promise<void> {
    const slot = this.#slots[slotIndex];
    if (slot === undefined) throw new RangeError(`line ${this.line} has no slot ${String(slotIndex)}`);
    slot.wanted = step;
    const swap = slot.swapping.then(async () => {
      if (slot.wanted !== step || this.#isEnded()) return;
      if (slot.process !== undefined) {
        await slot.process.end();
        slot.process = undefined;
        await this.#gracePeriod();
      }
      if (this.#isEnded()) return;
      slot.process = this.#process(`slot-${String(slotIndex)}`, shimCommand(isCommand), {
        [env.slot]: String(slotIndex),
        [env.stage]: stage,
        [env.step]: step,
        [env.stagesDir]: this.options.places.stagesDir,
      });
      await slot.process.start();
    });
    slot.swapping = swap.catch(() => undefined);
    await swap;
  }

  processes(): ProcessView[] {
    const all: [string, ManagedProcess | undefined][] = [['agent', this.#agent]];
    this.#slots.forEach((slot, index) => all.push([`slot-${String(index)}`, slot.process]));
    return all.flatMap(([role, process]) => (process?.pid === undefined ? [] : [{ line: this.line, role, pid: process.pid }]));
  }

  /** Ends every process of the line; the agent first, so that it gives its leases back, for which it has `graceMs`. May be called twice. */
  async end(graceMs: number = limits.terminationGraceMs): Promise<void> {
    this.#ended = true;
    this.#wake();
    await this.#agent.end(graceMs);
    await Promise.all(
      this.#slots.map(async (slot) => {
        await slot.process?.end();
        await slot.swapping;
        await slot.process?.end();
      }),
    );
  }

  /** Asked again after each wait: `end` may have come meanwhile. */
  #isEnded(): boolean {
    return this.#ended;
  }

  /** `swap.gracePeriodSeconds`: the wait between the end of one stage and the start of the next in a slot. */
  async #gracePeriod(): Promise<void> {
    if (this.options.gracePeriodMs === 0) return;
    let timer: NodeJS.Timeout | undefined;
    const period = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.options.gracePeriodMs);
    });
    await Promise.race([period, this.#endSignal]);
    clearTimeout(timer);
  }

  #process(role: string, command: readonly [string, ...string[]], more: Record<string, string>): ManagedProcess {
    const { line, places } = this.options;
    return new ManagedProcess(
      {
        name: `${line}/${role}`,
        command,
        logFile: join(places.logsDir, `${line}.${role}.log`),
        env: {
          [env.line]: line,
          [env.socket]: join(places.socketsDir, `${line}.sock`),
          [env.scratchDir]: join(places.scratchRoot, line),
          ...more,
        },
      },
      (pid, exit) => {
        this.options.onChange();
        if (pid === undefined && exit !== undefined && !this.#ended) this.options.onExit(line, role, exit);
      },
    );
  }
}

/** The Node shim; with PODLINE_SHIM=static, for a command, the one that images get which know nothing of Podline. */
function shimCommand(isCommand: boolean): readonly [string, ...string[]] {
  if (isCommand && process.env[env.shim] === 'static') return [staticShimPath()];
  return [process.execPath, entryPath('sidecars/shim/main')];
}
