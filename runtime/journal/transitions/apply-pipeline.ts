/**
 * in: a resolved pipeline, its rules. out: the record, and whether it changed. Throws PDL_PIPELINE_BUSY while one of its name is removed.
 * writes: the pipeline, with the next revision. events: pipeline.applied.
 */
import { PodlineError } from '../../contracts/errors.js';
import type { Pipeline } from '../../contracts/manifest.js';
import { canonicalJson } from '../../line/lineage.js';
import type { Changed, Moment, PipelineRecord, PipelineRules } from '../journal.js';
import type { Transition } from '../transition.js';

const contentOf = (record: Pick<PipelineRecord, 'pipeline' | 'rules'>): string =>
  canonicalJson(JSON.parse(JSON.stringify([{ ...record.pipeline, revision: 0 }, record.rules])));

export function applyPipeline(
  transition: Transition,
  given: Pipeline,
  rules: PipelineRules,
  now: Moment,
): PipelineRecord & Changed {
  const before = transition.tables.pipeline(given.name);
  if (before?.going === true) throw new PodlineError('PDL_PIPELINE_BUSY', `pipeline ${given.name} is being deleted`);
  if (before !== undefined && contentOf(before) === contentOf({ pipeline: given, rules })) return { ...before, changed: false };
  const pipeline: Pipeline = { ...given, revision: (before?.pipeline.revision ?? 0) + 1 };
  const record: PipelineRecord = { pipeline, rules, paused: before?.paused ?? false, appliedAt: now.at };
  transition.putPipeline(record);
  transition.emit(
    { type: 'pipeline.applied', pipeline: pipeline.name, data: { revision: pipeline.revision, stages: pipeline.stages.length } },
    now,
  );
  return { ...record, changed: true };
}
