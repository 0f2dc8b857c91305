/** A driver of lines that are names: as many as it was told to keep, with the events of a real one. */
import type { DriverEvent, LineDriver, ScaleOrder } from '../../runtime/contracts/driver.js';
import type { Pipeline } from '../../runtime/contracts/manifest.js';
import { defaultGroup, workloadName } from '../../runtime/line/groups.js';

export class NumberedDriver implements LineDriver {
  readonly kind = 'numbered';
  readonly choosesLines = true;
  /** By workload. */
  readonly lines = new Map<string, string[]>();
  /** Every order, in words. */
  readonly orders: string[] = [];
  /** Lines that were told to end stay until `finishEnding`. */
  slowToEnd = false;
  readonly #ending: { pipeline: string; line: string }[] = [];
  readonly #listeners = new Set<(event: DriverEvent) => void>();

  async start(pipeline: Pipeline, lines: number, group = defaultGroup): Promise<void> {
    const name = workloadName(pipeline.name, group);
    this.orders.push(`start ${name} ${String(lines)}`);
    const present = this.#linesOf(name);
    for (let number = 0; present.length < lines; number += 1) {
      const line = `${name}-${String(number)}`;
      if (present.includes(line) || this.#ending.some((ending) => ending.line === line)) continue;
      present.push(line);
      this.say({ type: 'lineStarted', pipeline: pipeline.name, group, line });
    }
  }

  async scale(pipeline: string, lines: number, { group = defaultGroup, going = [] }: ScaleOrder = {}): Promise<void> {
    const name = workloadName(pipeline, group);
    this.orders.push(`scale ${name} ${String(lines)} without ${going.join(', ')}`);
    const present = this.#linesOf(name);
    present.sort((a, b) => Number(going.includes(a)) - Number(going.includes(b)));
    for (const line of present.splice(lines)) this.#ending.push({ pipeline, line });
    if (!this.slowToEnd) this.finishEnding();
  }

  finishEnding(): void {
    for (const { pipeline, line } of this.#ending.splice(0))
      this.say({ type: 'lineEnded', pipeline, line, reason: 'scaled down', gone: true });
  }

  async swap(): Promise<void> {
    // Nothing is in a slot here.
  }

  async stop(): Promise<void> {
    this.lines.clear();
  }

  subscribe(listener: (event: DriverEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  say(event: DriverEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  /** There, or being ended. */
  get count(): number {
    return [...this.lines.values()].reduce((sum, lines) => sum + lines.length, this.#ending.length);
  }

  #linesOf(name: string): string[] {
    let lines = this.lines.get(name);
    if (lines === undefined) this.lines.set(name, (lines = []));
    return lines;
  }
}
