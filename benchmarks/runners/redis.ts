/** The stages as functions, invoked one after another, the data in Redis between them. */
import { inputStream } from '../../runtime/contracts/block.js';
import type { CodecName, StageDone } from '../stage-protocol.js';
import { keyOf } from '../transports/store-stage.js';
import { groupsOf } from '../transports/transport.js';
import { inOrder, type Edge, type Job, type Workload } from '../workload.js';
import { StageChild } from './child.js';
import { RedisServer } from './redis-server.js';
import type { JobEnd, Runner } from './runner.js';
import { jobEndOf } from './told.js';

export class RedisRunner implements Runner {
  readonly memoryDirs = [];
  #server: RedisServer | undefined;
  #functions = new Map<string, StageChild>();

  constructor(
    readonly name: string,
    readonly title: string,
    private readonly workload: Workload,
    private readonly edges: Edge[],
    private readonly codec: CodecName,
  ) {}

  async start(): Promise<void> {
    const server = await RedisServer.start();
    this.#server = server;
    const { manifest, pipeline, stagesDir, parameters, resultStages } = this.workload;
    for (const stage of [inputStream, ...pipeline.stages.map(({ name }) => name)]) {
      const setup = {
        transport: 'redis' as const,
        workload: { manifest, pipeline, stagesDir, parameters, resultStages },
        edges: this.edges,
        codec: this.codec,
        stage,
        socket: server.socket,
      };
      this.#functions.set(stage, new StageChild(setup));
    }
    await Promise.all([...this.#functions.values()].map((child) => child.ready()));
  }

  pids(): number[] {
    return [...(this.#server === undefined ? [] : [this.#server.pid]), ...[...this.#functions.values()].map(({ pid }) => pid)];
  }

  async run(job: Job): Promise<JobEnd> {
    const ended = new Map<string, Promise<StageDone>>();
    const invoke = async (stage: string, inputs: readonly string[]): Promise<StageDone> => {
      const before = await Promise.all(inputs.map((name) => ended.get(name)!));
      const child = this.#functions.get(stage)!;
      child.tell({ type: 'job', job, blocks: Object.fromEntries(before.map((done) => [done.stage, done.blocks])) });
      return child.done();
    };
    ended.set(inputStream, invoke(inputStream, []));
    for (const stage of inOrder(this.workload.pipeline.stages)) ended.set(stage.name, invoke(stage.name, stage.after));
    const done = await Promise.all(ended.values());
    this.#forget(job, done);
    return jobEndOf(job, done);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#functions.values()].map((child) => child.close()));
    this.#functions.clear();
    await this.#server?.close();
    this.#server = undefined;
  }

  /** Behind the measured time: a store that must be emptied is not held against it. */
  #forget(job: Job, done: readonly StageDone[]): void {
    const keys = done.flatMap(({ stage, blocks }) =>
      [...groupsOf(this.edges.filter(({ from }) => from === stage)).keys()].flatMap((to) =>
        Array.from({ length: blocks }, (_, block) => keyOf(job.id, { from: stage, to }, block)),
      ),
    );
    this.#functions.get(inputStream)?.tell({ type: 'forget', keys });
  }
}
