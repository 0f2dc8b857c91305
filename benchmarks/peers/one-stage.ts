/** All stages of a chain in one process, block after block: no hand-over at all. */
import { monotonicMs } from '../work/clock.js';
import type { Job } from '../work/work.js';
import type { ChainDone } from './chain-stage.js';
import type { Form } from './forms.js';

export class OneStage {
  constructor(
    private readonly form: Form,
    private readonly stages: number,
  ) {}

  async run(job: Job): Promise<ChainDone> {
    const output = this.form.output();
    const blocks = await this.form.load(job);
    const loadedMs = monotonicMs();
    for (const block of blocks) {
      let made: unknown = this.form.open(block);
      for (let stage = 0; stage < this.stages && made !== undefined; stage++) made = this.form.step(made, stage);
      if (made !== undefined) output.gather(made);
    }
    const endedMs = monotonicMs();
    output.write(job.resultDir);
    return { job: job.id, stage: 'all', loadedMs, endedMs, read: 0, written: 0 };
  }
}
