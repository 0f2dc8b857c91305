/** All stages in one process, block by block: no transport at all. What the other rows add to this is what connecting stages costs. */
import { inputStream } from '../../runtime/contracts/block.js';
import type { StageDone } from '../stage-protocol.js';
import { StageWork } from '../stage-work.js';
import type { StageSetup } from '../stage-protocol.js';
import { zipTables, type Table } from '../table.js';
import { inOrder, type Job } from '../workload.js';

export class WholePipeline {
  private constructor(
    private readonly works: readonly StageWork[],
    private readonly source: StageWork,
  ) {}

  static async open(setup: StageSetup): Promise<WholePipeline> {
    const works = inOrder(setup.workload.pipeline.stages).map(({ name }) => new StageWork(setup, name));
    for (const work of works) await work.load();
    return new WholePipeline(works, new StageWork(setup, inputStream));
  }

  async run(job: Job): Promise<StageDone[]> {
    for (const work of [this.source, ...this.works]) work.begin(job);
    for await (const table of this.source.source(job.source)) await this.#feed(new Map([[inputStream, table]]));
    for (const work of this.works) {
      const last = await work.finish(job);
      if (last !== undefined) await this.#feed(new Map([[work.stage, last]]));
    }
    return [this.source, ...this.works].map((work) => work.done());
  }

  /** What stages make of a block, as far as it goes. */
  async #feed(made: Map<string, Table>): Promise<void> {
    for (const work of this.works) {
      const inputs = work.inputs.map(({ from }) => made.get(from));
      if (made.has(work.stage) || inputs.length === 0 || !inputs.every((table) => table !== undefined)) continue;
      const taken = await work.take(zipTables(inputs));
      if (taken !== undefined) made.set(work.stage, taken);
    }
  }
}
