/** The stages as services: a process each, HTTP between them. */
import { inputStream } from '../../runtime/contracts/block.js';
import type { CodecName } from '../stage-protocol.js';
import type { Edge, Job, Workload } from '../workload.js';
import { StageChild } from './child.js';
import type { JobEnd, Runner } from './runner.js';
import { jobEndOf } from './told.js';

export class HttpRunner implements Runner {
  readonly memoryDirs = [];
  #children: StageChild[] = [];

  constructor(
    readonly name: string,
    readonly title: string,
    private readonly workload: Workload,
    private readonly edges: Edge[],
    private readonly codec: CodecName,
  ) {}

  async start(): Promise<void> {
    const { manifest, pipeline, stagesDir, parameters, resultStages } = this.workload;
    const names = [inputStream, ...pipeline.stages.map(({ name }) => name)];
    this.#children = names.map(
      (stage) =>
        new StageChild({
          transport: 'http',
          workload: { manifest, pipeline, stagesDir, parameters, resultStages },
          edges: this.edges,
          codec: this.codec,
          stage,
        }),
    );
    const ports = await Promise.all(this.#children.map((child) => child.ready()));
    const connect = Object.fromEntries(names.map((name, index) => [name, ports[index] ?? 0]));
    for (const child of this.#children) child.tell({ type: 'connect', ports: connect });
  }

  pids(): number[] {
    return this.#children.map(({ pid }) => pid);
  }

  async run(job: Job): Promise<JobEnd> {
    this.#children[0]?.tell({ type: 'job', job });
    return jobEndOf(job, await Promise.all(this.#children.map((child) => child.done())));
  }

  async close(): Promise<void> {
    await Promise.all(this.#children.splice(0).map((child) => child.close()));
  }
}
