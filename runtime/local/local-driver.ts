/**
 * The driver of a laptop: lines are process groups of this machine, swaps are processes that end and start.
 *
 * Owns the processes of all lines. Invariants are those of `contracts/driver.ts`.
 */
import { rm } from 'node:fs/promises';
import type { DriverEvent, LineDriver, SwapOrder } from '../contracts/driver.js';
import { PodlineError } from '../contracts/errors.js';
import type { Pipeline } from '../contracts/manifest.js';
import { slotsOf } from '../line/concurrency.js';
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
  /** Of each pipeline, in the order of their numbers. */
  readonly #lines = new Map<string, LocalLine[]>();
  readonly #listeners = new Set<(event: DriverEvent) => void>();
  #coordinatorUrl = '';
  #stale = false;
  #writing: Promise<void> = Promise.resolve();

  constructor(private readonly options: LocalDriverOptions) {}

  connect(coordinatorUrl: string): void {
    this.#coordinatorUrl = coordinatorUrl;
  }

  async start(pipeline: Pipeline, lines: number): Promise<void> {
    const present = this.#lines.get(pipeline.name) ?? [];
    this.#lines.set(pipeline.name, present);
    const fresh: LocalLine[] = [];
    while (present.length < lines) {
      const line = this.#newLine(pipeline, present.length);
      present.push(line);
      fresh.push(line);
    }
    await Promise.all(fresh.map((line) => line.start()));
    for (const line of fresh) this.#tell({ type: 'lineStarted', pipeline: pipeline.name, line: line.line });
  }

  async scale(pipeline: string, lines: number): Promise<void> {
    const present = this.#lines.get(pipeline) ?? [];
    const surplus = present.splice(lines);
    await Promise.all(surplus.map((line) => this.#end(pipeline, line, 'scaled down')));
  }

  /** Names of all lines that are kept running. */
  get lineNames(): string[] {
    return [...this.#lines.values()].flatMap((lines) => lines.map(({ line }) => line));
  }

  async swap(order: SwapOrder): Promise<void> {
    const line = this.#lines.get(order.pipeline.name)?.find((candidate) => candidate.line === order.line);
    if (line === undefined) throw new PodlineError('PDL_SWAP_FAILED', `there is no line ${order.line} on this machine`);
    const { slot, stage, step } = order;
    if (slot >= line.slots)
      throw new PodlineError(
        'PDL_SWAP_FAILED',
        `line ${order.line} has ${String(line.slots)} slots, there is no slot ${String(slot)}`,
      );
    // The order is taken; that the shim is there, its hello says, and what goes wrong, an event.
    void line.swap(slot, stage, step).catch((thrown: unknown) => {
      const error = PodlineError.from(thrown, 'PDL_SWAP_FAILED').toWire();
      this.#tell({ type: 'swapFailed', pipeline: order.pipeline.name, line: order.line, slot, step, error });
    });
    return Promise.resolve();
  }

  async stop(pipeline?: string): Promise<void> {
    const names = pipeline === undefined ? [...this.#lines.keys()] : [pipeline];
    await Promise.all(names.map((name) => this.scale(name, 0)));
    await this.#writing;
    if (pipeline === undefined) await rm(this.options.places.processesFile, { force: true });
  }

  subscribe(listener: (event: DriverEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #end(pipeline: string, line: LocalLine, reason: string): Promise<void> {
    await line.end();
    this.#tell({ type: 'lineEnded', pipeline, line: line.line, reason, gone: true });
  }

  #newLine(pipeline: Pipeline, index: number): LocalLine {
    const { places, tokenOf, logger, cores } = this.options;
    const line = `${pipeline.name}-${String(index)}`;
    return new LocalLine({
      line,
      pipeline: pipeline.name,
      slots: slotsOf(pipeline, cores),
      gracePeriodMs: pipeline.spec.swap.gracePeriodSeconds * 1000,
      coordinatorUrl: this.#coordinatorUrl,
      token: tokenOf(pipeline.name, line),
      places,
      logger,
      onChange: () => {
        this.#recordProcesses();
      },
      onExit: (line, role, exit) => {
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
        const processes = [...this.#lines.values()].flatMap((lines) => lines.flatMap((line) => line.processes()));
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
