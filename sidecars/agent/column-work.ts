/**
 * What the agent gives back while a shard is on the line: columns that nothing to come reads, and streams that nothing refers to. What
 * may go is decided in `runtime/line/live-columns.ts`.
 *
 * Invariants
 *  1. Nothing goes while a checkpoint of the shard is being written, and none is begun while something goes: what a checkpoint
 *     copies is what its checksums say.
 *  2. With the cadence `stage`, a stream that a resume would want goes into its checkpoint whole, before it loses columns. With the
 *     others, a checkpoint holds what is left when it is written.
 *  3. Looks at one shard follow each other.
 */
import type { Resident } from './resident.js';
import { PodlineError } from '../../runtime/contracts/errors.js';
import { checkpointPlaces } from '../../runtime/line/checkpoint-policy.js';
import { neededColumns, planFreeing, type HeldColumns } from '../../runtime/line/live-columns.js';
import { neededStreams } from '../../runtime/line/resume.js';
import type { Agent } from './agent.js';
import { checkpointNow } from './checkpointing.js';

/** Bytes go in whole pages: of less than this there is little to gain. */
const streamBytesMin = 64 * 1024;

interface Look {
  /** And once more when it is over: something has changed since it began. */
  again: boolean;
  done: Promise<void>;
}
const isAskedAgain = ({ again }: Look): boolean => again;

export class ColumnWork {
  /** Shards that are looked at. */
  readonly #looks = new Map<string, Look>();

  constructor(private readonly agent: Agent) {}

  /** Nothing reads the stream as it is any more. It goes at once, or, where others may refer to much of it, when they do not. */
  async release(shardId: string, stream: string): Promise<void> {
    const resident = this.agent.residents.get(shardId);
    if (resident === undefined) return;
    const { scratch } = this.agent.options;
    const record = scratch.stream(shardId, stream);
    if (record === undefined || record.kind !== 'table' || record.bytes < streamBytesMin) {
      await scratch.dropStream(shardId, stream);
      return;
    }
    resident.released.add(stream);
    await this.look(shardId);
  }

  /** Gives back what may go now. */
  look(shardId: string): Promise<void> {
    const under = this.#looks.get(shardId);
    if (under !== undefined) {
      under.again = true;
      return under.done;
    }
    const look: Look = { again: false, done: Promise.resolve() };
    this.#looks.set(shardId, look);
    look.done = this.#lookUntilSettled(shardId, look);
    return look.done;
  }

  /** Something of the shard is going just now. */
  isUnderWay(shardId: string): boolean {
    return this.#looks.has(shardId);
  }

  /** When nothing of the shard is going any more. */
  async settled(shardId: string): Promise<void> {
    await this.#looks.get(shardId)?.done;
  }

  async #lookUntilSettled(shardId: string, look: Look): Promise<void> {
    let given = false;
    try {
      do {
        look.again = false;
        const resident = this.agent.residents.get(shardId);
        if (resident === undefined || !this.agent.isOurs(resident)) return;
        if (await this.#give(resident)) given = true;
      } while (isAskedAgain(look));
    } finally {
      this.#looks.delete(shardId);
    }
    // What wanted to be written meanwhile had to wait.
    if (given) checkpointNow(this.agent, shardId);
  }

  /** Whether anything was given back. */
  async #give(resident: Resident): Promise<boolean> {
    const { shardId } = resident.lease;
    const { scratch, checkpoints, logger } = this.agent.options;
    const isDone = this.agent.doneOf(shardId);
    if (isDone === undefined || checkpointPlaces.some((place) => checkpoints.state(shardId, place).busy)) return false;
    const held = this.#held(resident);
    if (held.length === 0) return false;
    const plan = planFreeing(held, neededColumns(resident.order, resident.wanted, isDone));
    const keeps = this.#awaitsCheckpoint(resident);
    let given = false;
    for (const [stream, columns] of plan.columns) {
      const what = `${stream}: ${columns.join(' ')}`;
      if (keeps(stream) || resident.freedInVain.has(what)) continue;
      try {
        const bytes = await scratch.freeColumns(shardId, stream, columns);
        logger.debug({ shardId, stream, columns, bytes }, 'columns were given back');
        if (bytes === 0) resident.freedInVain.add(what);
        given ||= bytes > 0;
      } catch (thrown) {
        resident.freedInVain.add(what);
        logger.warn({ shardId, stream, columns, err: PodlineError.from(thrown).message }, 'columns could not be given back');
      }
      if (!this.agent.isOurs(resident)) return given;
    }
    for (const stream of plan.streams) {
      await scratch.dropStream(shardId, stream);
      resident.released.delete(stream);
      given = true;
    }
    return given;
  }

  /** The valid streams of a shard, if there is one among them that is worth looking at. */
  #held(resident: Resident): HeldColumns[] {
    const { shardId } = resident.lease;
    const { scratch } = this.agent.options;
    const valid = scratch
      .streams(shardId)
      .filter(({ stream, lineage }) => lineage.digest === resident.lineages.get(stream)?.digest);
    if (!valid.some(({ kind, sealed, bytes }) => kind === 'table' && sealed && bytes >= streamBytesMin)) return [];
    return valid.map(({ stream, sealed, schema, freed = [] }) => ({
      stream,
      sealed,
      released: resident.released.has(stream),
      columns: schema.map(({ name }) => name),
      freed,
      blocks: scratch.blocks(shardId, stream),
    }));
  }

  /** Invariant 2. */
  #awaitsCheckpoint(resident: Resident): (stream: string) => boolean {
    const { shardId } = resident.lease;
    const { scratch, checkpoints } = this.agent.options;
    const { ssd, major } = resident.pipeline.spec.checkpoints;
    const written = checkpointPlaces
      .filter((place) => (place === 'ssd' ? ssd : major) === 'stage')
      .map((place) => checkpoints.state(shardId, place).written);
    if (written.length === 0) return () => false;
    const sealed = new Set(scratch.streams(shardId).flatMap((stream) => (stream.sealed ? [stream.stream] : [])));
    const needed = neededStreams(resident.pipeline.stages, resident.wanted, (stream) => sealed.has(stream));
    return (stream) => needed.has(stream) && written.some((streams) => streams.get(stream)?.sealed !== true);
  }
}
