/** One warm process that runs all stages: the floor, against which the others are seen. */
import type { Job, Workload } from '../workload.js';
import { StageChild } from './child.js';
import type { JobEnd, Runner } from './runner.js';
import { jobEndOf } from './told.js';

export class OneProcess implements Runner {
  readonly name = 'one-process';
  readonly title = 'one process, no hand-over (floor)';
  readonly memoryDirs = [];
  #child: StageChild | undefined;

  constructor(private readonly workload: Workload) {}

  async start(): Promise<void> {
    const { manifest, pipeline, stagesDir, parameters, resultStages, edges } = this.workload;
    const child = new StageChild({
      transport: 'one',
      workload: { manifest, pipeline, stagesDir, parameters, resultStages },
      edges,
      codec: 'columns',
      stage: 'all',
    });
    this.#child = child;
    await child.ready();
  }

  pids(): number[] {
    return this.#child === undefined ? [] : [this.#child.pid];
  }

  async run(job: Job): Promise<JobEnd> {
    const child = this.#child;
    if (child === undefined) throw new Error('not started');
    child.tell({ type: 'job', job });
    const done = [];
    for (let i = 0; i <= this.workload.pipeline.stages.length; i++) done.push(await child.done());
    const { dir, bytes, stages } = jobEndOf(job, done);
    // All stages share one process: what lies outside of their code belongs to none of them.
    return { dir, bytes, stages: stages.map((stage) => ({ ...stage, handoverMs: 0 })) };
  }

  async close(): Promise<void> {
    await this.#child?.close();
    this.#child = undefined;
  }
}
