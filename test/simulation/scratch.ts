/** A model of what a pod's memory keeps: streams that are whole, and which run may commit to each. */
export class SimulatedScratch {
  /** Whole streams by shard. */
  readonly shards = new Map<string, Set<string>>();
  /** Stages that were committed, while the word of it was lost. */
  readonly #unheard = new Set<string>();
  /** Runs of stages that were revised since they began: what they make is not what is wanted now. */
  readonly #outdated = new Set<string>();
  readonly #fences = new Map<string, string>();

  has(shardId: string, stream: string): boolean {
    return this.shards.get(shardId)?.has(stream) === true;
  }

  /** From now on only this run may commit to the stage. */
  open(shardId: string, stage: string, runId: string): void {
    this.#fences.set(`${shardId}/${stage}`, runId);
  }

  isFenced(shardId: string, stage: string, runId: string): boolean {
    return this.#outdated.has(runId) || this.#fences.get(`${shardId}/${stage}`) !== runId || !this.shards.has(shardId);
  }

  outdate(runId: string): void {
    this.#outdated.add(runId);
  }

  /** No run that was begun may commit any more. */
  fenceAll(): void {
    this.#fences.clear();
  }

  missHearing(shardId: string, stage: string): void {
    this.#unheard.add(`${shardId}/${stage}`);
  }

  wasUnheard(shardId: string, stage: string): boolean {
    return this.#unheard.has(`${shardId}/${stage}`);
  }
}
