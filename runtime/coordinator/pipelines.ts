/** The pipelines of a coordinator: kept in memory by the one that leads, because nobody else changes them; read anew by a standby. */
import { nearest } from '../config/nearest.js';
import { PodlineError } from '../contracts/errors.js';
import type { Journal, PipelineRecord } from '../journal/journal.js';

export class Pipelines {
  readonly #records = new Map<string, PipelineRecord>();

  constructor(
    private readonly journal: Journal,
    private readonly isLeading: () => boolean,
  ) {}

  get names(): string[] {
    return [...this.#records.keys()];
  }

  put(record: PipelineRecord): void {
    this.#records.set(record.pipeline.name, record);
  }

  /** It goes, or is gone. */
  forget(name: string): void {
    this.#records.delete(name);
  }

  async refresh(): Promise<void> {
    const records = await this.journal.pipelines();
    this.#records.clear();
    for (const record of records) if (record.going !== true) this.put(record);
  }

  async all(): Promise<PipelineRecord[]> {
    if (!this.isLeading()) await this.refresh();
    return [...this.#records.values()];
  }

  /** Throws PDL_PIPELINE_UNKNOWN. */
  async get(name: string): Promise<PipelineRecord> {
    if (!this.isLeading()) await this.refresh();
    const record = this.#records.get(name);
    if (record !== undefined) return record;
    const close = nearest(name, this.names);
    throw new PodlineError(
      'PDL_PIPELINE_UNKNOWN',
      `there is no pipeline ${name}`,
      close === undefined ? {} : { hint: `Did you mean ${close}?` },
    );
  }
}
