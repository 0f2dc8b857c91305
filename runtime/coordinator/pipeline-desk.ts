/**
 * Pipelines as they come, change and go.
 *
 * Invariant: a removal that was begun ends, whichever coordinator leads: from its first transaction on the journal says that the pipeline
 * goes, and whoever takes the next term goes on with it.
 */
import type { LineDriver } from '../contracts/driver.js';
import { PodlineError } from '../contracts/errors.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { PipelineView, RemovedPipeline } from '../contracts/views.js';
import type { Changed, Journal, Moment, PipelineRecord } from '../journal/journal.js';
import { takenName, type Grouped } from '../line/groups.js';
import type { Logger } from '../platform/logger.js';
import type { FlowDesk } from './flow-desk.js';
import type { LineDesk } from './line-desk.js';
import type { CoordinatorLimits } from './options.js';
import type { Pipelines } from './pipelines.js';
import { rulesOf } from './rules.js';

/** Shards that one transition removes. */
const removedAtOnce = 1_000;

export interface PipelineDeskParts {
  journal: Journal;
  pipelines: Pipelines;
  desk: LineDesk;
  flow: FlowDesk;
  driver: LineDriver | undefined;
  limits: CoordinatorLimits;
  logger: Logger;
  now: () => Moment;
}

export class PipelineDesk {
  readonly #removals = new Map<string, Promise<RemovedPipeline>>();
  #closed = false;
  #applying: Promise<unknown> = Promise.resolve();

  constructor(private readonly parts: PipelineDeskParts) {}

  /**
   * Its revision counts up if it differs from the one that is there. Throws PDL_PIPELINE_BUSY while one of its name is removed,
   * PDL_MANIFEST_INVALID when its lines would be called like those of another.
   */
  apply(pipeline: Pipeline): Promise<PipelineView & Changed> {
    // One at a time: of two that want the same names for their lines, the second is to see the first.
    const applied = this.#applying.then(() => this.#apply(pipeline));
    this.#applying = applied.catch(() => undefined);
    return applied;
  }

  async #apply(pipeline: Pipeline): Promise<PipelineView & Changed> {
    const { journal, pipelines, flow, limits, now } = this.parts;
    checkNames(pipeline, await journal.pipelines());
    const record = await journal.applyPipeline(pipeline, rulesOf(pipeline, limits), now());
    pipelines.put(record);
    flow.revised(record.pipeline);
    return { ...(await this.#view(record, true)), changed: record.changed };
  }

  async views(): Promise<PipelineView[]> {
    return Promise.all((await this.parts.pipelines.all()).map((record) => this.#view(record, false)));
  }

  /** Throws PDL_PIPELINE_UNKNOWN. */
  async view(name: string): Promise<PipelineView> {
    return this.#view(await this.parts.pipelines.get(name), true);
  }

  async setPaused(name: string, paused: boolean): Promise<Changed> {
    const { journal, pipelines, desk, now } = this.parts;
    const record = await pipelines.get(name);
    const changed = await journal.setPaused(name, paused, now());
    pipelines.put({ ...record, paused });
    if (!paused) void desk.waiters.wake(name);
    return changed;
  }

  /**
   * Its shards, its lines, and last itself; resolves when all are gone. Throws PDL_PIPELINE_UNKNOWN, and unless `cancel` is set
   * PDL_PIPELINE_BUSY while shards of it wait or run.
   */
  async remove(name: string, cancel: boolean): Promise<RemovedPipeline> {
    if (!this.#removals.has(name)) await this.parts.pipelines.get(name);
    return this.#removing(name, cancel);
  }

  /** Removals that the coordinator before this one began. */
  async goOn(): Promise<void> {
    const { journal, logger } = this.parts;
    for (const { going, pipeline } of await journal.pipelines()) {
      if (going !== true) continue;
      this.#removing(pipeline.name, true).catch((thrown: unknown) => {
        logger.error(
          { pipeline: pipeline.name, err: String(thrown) },
          'a pipeline could not be removed; whoever leads next goes on',
        );
      });
    }
  }

  /** What is removed stays half done, for whoever leads next. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#removals.values());
  }

  #removing(name: string, cancel: boolean): Promise<RemovedPipeline> {
    const begun = this.#removals.get(name);
    if (begun !== undefined) return begun;
    const removal = this.#remove(name, cancel).finally(() => this.#removals.delete(name));
    this.#removals.set(name, removal);
    return removal;
  }

  async #remove(name: string, cancel: boolean): Promise<RemovedPipeline> {
    const { journal, pipelines, desk, flow, driver, logger, now } = this.parts;
    const removed: RemovedPipeline = { cancelled: 0, removed: 0 };
    // From this on it is there for nobody else; its lines are heard no more.
    await journal.removePipeline(name, cancel, 0, now());
    pipelines.forget(name);
    flow.leave(name);
    for (const { line } of desk.viewsOf(name)) await desk.gone(line, 'its pipeline was deleted');
    for (let more = true; more && !this.#closed;) {
      const some = await journal.removePipeline(name, cancel, removedAtOnce, now());
      removed.cancelled += some.cancelled;
      removed.removed += some.removed;
      more = some.more;
    }
    await driver?.stop(name);
    logger.info({ pipeline: name, ...removed }, 'a pipeline was deleted');
    return removed;
  }

  async #view({ pipeline, paused, appliedAt }: PipelineRecord, whole: boolean): Promise<PipelineView> {
    const { journal, desk, flow } = this.parts;
    const { name, revision } = pipeline;
    const counts = await journal.counts(name);
    const view = { name, revision, paused, counts, lines: desk.liveCount(name), appliedAt };
    if (!whole) return view;
    return { ...view, flow: flow.view(name), pace: await flow.pace(pipeline), pipeline };
  }
}

/** Whoever is in the journal keeps its names. */
function checkNames(pipeline: Pipeline, records: readonly PipelineRecord[]): void {
  const groupedOf = ({ name, spec }: Pipeline): Grouped => ({ name, groups: spec.groups });
  const taken = takenName(
    groupedOf(pipeline),
    records.map((record) => groupedOf(record.pipeline)),
  );
  if (taken === undefined) return;
  const { name, group, by } = taken;
  const at = pipeline.spec.groups.findIndex((known) => known.name === group);
  throw new PodlineError(
    'PDL_MANIFEST_INVALID',
    `lines of pipeline ${pipeline.name}, group ${group}, would be called ${name}-…, as those of pipeline ${by} are`,
    {
      place: at < 0 ? 'metadata.name' : `spec.groups[${String(at)}].name`,
      hint: `Give the group or the pipeline another name, or delete pipeline ${by}.`,
      retry: 'later',
    },
  );
}
