/**
 * The driver of a laptop: lines are process groups of this machine, swaps are processes that end and start.
 *
 * Owns the processes of all lines. Invariants are those of `contracts/driver.ts`.
 */
import { rm } from 'node:fs/promises';
import type { DriverEvent, LineDriver, ScaleOrder, SwapOrder } from '../contracts/driver.js';
import { PodlineError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import type { Pipeline } from '../contracts/manifest.js';
import { slotsOf } from '../line/concurrency.js';
import { defaultGroup, workloadName } from '../line/groups.js';
import { writeFileAtomically } from '../platform/files.js';
import type { Logger } from '../platform/logger.js';
import { LocalLine } from './local-line.js';
import type { Places } from './places.js';

export interface LocalDriverOptions {
  places: Places;
  /** What a line shows to the coordinator. Where that is, is known only when the API listens: `connect` before the first `start`. */
  tokenOf: (pipeline: string, line: string) => string;
  logger: Logger;
  cores: number;
}

export class LocalDriver implements LineDriver {
  readonly kind = 'local';
  readonly choosesLines = true;
  /** By pipeline and group. */
  readonly #lines = new Map<string, Map<string, LocalLine[]>>();
  /** Names of lines that are being ended: nobody else may have their scratch yet. */
  readonly #ending = new Set<string>();
  readonly #listeners = new Set<(event: DriverEvent) => void>();
  #coordinatorUrl = '';
  #stale = false;
  #writing: Promise<void> = Promise.resolve();

  constructor(private readonly options: LocalDriverOptions) {}

  connect(coordinatorUrl: string): void {
    this.#coordinatorUrl = coordinatorUrl;
  }

  async start(pipeline: Pipeline, lines: number, group = defaultGroup): Promise<void> {
    const present = this.#linesOf(pipeline.name, group);
    const fresh: LocalLine[] = [];
    for (let number = 0; present.length < lines; number += 1) {
      const name = `${workloadName(pipeline.name, group)}-${String(number)}`;
      // The names of lines that went are given again, lowest first: their checkpoints lie under them.
      if (this.#ending.has(name) || present.some(({ line }) => line === name)) continue;
      const line = this.#newLine(pipeline, group, name);
      present.push(line);
      fresh.push(line);
    }
    await Promise.all(fresh.map((line) => line.start()));
    for (const { line } of fresh) this.#tell({ type: 'lineStarted', pipeline: pipeline.name, group, line });
  }

  async scale(pipeline: string, lines: number, order: ScaleOrder = {}): Promise<void> {
    await this.#shrink(pipeline, lines, order, limits.drainGraceMs);
  }

  async #shrink(
    pipeline: string,
    lines: number,
    { group = defaultGroup, going = [] }: ScaleOrder,
    graceMs: number,
  ): Promise<void> {
    const present = this.#linesOf(pipeline, group);
    // A line that was told to go goes first; of the others, the last that came.
    present.sort((a, b) => Number(going.includes(a.line)) - Number(going.includes(b.line)));
    const surplus = present.splice(lines);
    await Promise.all(surplus.map((line) => this.#end(pipeline, line, graceMs)));
  }

  /** Names of all lines that are kept running. */
  get lineNames(): string[] {
    return this.#all().map(({ line }) => line);
  }

  #all(): LocalLine[] {
    return [...this.#lines.values()].flatMap((groups) => [...groups.values()].flat());
  }

  #linesOf(pipeline: string, group: string): LocalLine[] {
    let groups = this.#lines.get(pipeline);
    if (groups === undefined) this.#lines.set(pipeline, (groups = new Map<string, LocalLine[]>()));
    let lines = groups.get(group);
    if (lines === undefined) groups.set(group, (lines = []));
    return lines;
  }

  async swap(order: SwapOrder): Promise<void> {
    const line = this.#all().find((candidate) => candidate.line === order.line);
    if (line === undefined) throw new PodlineError('PDL_SWAP_FAILED', `there is no line ${order.line} on this machine`);
    const { slot, stage, step } = order;
    if (slot >= line.slots)
      throw new PodlineError(
        'PDL_SWAP_FAILED',
        `line ${order.line} has ${String(line.slots)} slots, there is no slot ${String(slot)}`,
      );
    // The order is taken; that the shim is there, its hello says, and what goes wrong, an event.
    const isCommand = order.pipeline.stages.some(({ name, command }) => name === stage && command !== undefined);
    void line.swap(slot, stage, step, isCommand).catch((thrown: unknown) => {
      const error = PodlineError.from(thrown, 'PDL_SWAP_FAILED').toWire();
      this.#tell({ type: 'swapFailed', pipeline: order.pipeline.name, line: order.line, slot, step, error });
    });
    return Promise.resolve();
  }

  async stop(pipeline?: string): Promise<void> {
    const names = pipeline === undefined ? [...this.#lines.keys()] : [pipeline];
    const groups = names.flatMap((name) => [...(this.#lines.get(name)?.keys() ?? [])].map((group) => [name, group] as const));
    await Promise.all(groups.map(([name, group]) => this.#shrink(name, 0, { group }, limits.terminationGraceMs)));
    await this.#writing;
    if (pipeline === undefined) await rm(this.options.places.processesFile, { force: true });
  }

  subscribe(listener: (event: DriverEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #end(pipeline: string, line: LocalLine, graceMs: number): Promise<void> {
    this.#ending.add(line.line);
    try {
      await line.end(graceMs);
    } finally {
      this.#ending.delete(line.line);
    }
    this.#tell({ type: 'lineEnded', pipeline, line: line.line, reason: 'scaled down', gone: true });
  }

  #newLine(pipeline: Pipeline, group: string, line: string): LocalLine {
    const { places, tokenOf, logger, cores } = this.options;
    return new LocalLine({
      line,
      pipeline: pipeline.name,
      group,
      slots: slotsOf(pipeline, cores),
      gracePeriodMs: pipeline.spec.swap.gracePeriodSeconds * 1000,
      coordinatorUrl: this.#coordinatorUrl,
      token: tokenOf(pipeline.name, line),
      places,
      logger,
      onChange: () => {
        this.#recordProcesses();
      },
      onExit: (_, role, exit) => {
        const reason = exit.signal ?? `exit code ${String(exit.code)}`;
        logger.warn({ line, role, reason }, 'a process of a line ended and is started again');
        if (role === 'agent') this.#tell({ type: 'lineEnded', pipeline: pipeline.name, line, reason, gone: false });
        else this.#tell({ type: 'slotEnded', pipeline: pipeline.name, line, slot: Number(role.slice('slot-'.length)), reason });
      },
    });
  }

  /** `processes.json` in the work directory: who runs, for people and for drills. Changes while one is written share the next write. */
  #recordProcesses(): void {
    if (this.#stale) return;
    this.#stale = true;
    this.#writing = this.#writing
      .then(async () => {
        this.#stale = false;
        const processes = this.#all().flatMap((line) => line.processes());
        await writeFileAtomically(
          this.options.places.processesFile,
          `${JSON.stringify({ coordinator: process.pid, processes }, undefined, 2)}\n`,
        );
      })
      .catch((thrown: unknown) => {
        this.options.logger.debug({ err: String(thrown) }, 'could not write the list of processes');
      });
  }

  #tell(event: DriverEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
