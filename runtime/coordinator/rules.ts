/** A pipeline's rules in numbers, and the checks of a submission against the pipeline. */
import { isAbsolute, resolve } from 'node:path';
import { PodlineError } from '../contracts/errors.js';
import type { ParameterValue, Parameters, Pipeline } from '../contracts/manifest.js';
import type { Submission } from '../contracts/shard.js';
import { usableTrace } from '../contracts/trace.js';
import { whyNot } from '../config/checks.js';
import { nearest } from '../config/nearest.js';
import { parseDurationMs } from '../config/units.js';
import type { NewShard, PipelineRules } from '../journal/journal.js';
import { groupNames, groupOf } from '../line/groups.js';
import { checkSource } from './source-schema.js';

export function rulesOf(pipeline: Pipeline, bounds: { pendingShardsMax: number; lostLeasesMax: number }): PipelineRules {
  const { retries, timeLimits } = pipeline.spec;
  const { initial, factor, max } = retries.backoff;
  return {
    retries: { limit: retries.limit, backoff: { initialMs: parseDurationMs(initial), factor, maxMs: parseDurationMs(max) } },
    timeLimits: {
      ...(timeLimits.pending === undefined ? {} : { pendingMs: parseDurationMs(timeLimits.pending) }),
      ...(timeLimits.running === undefined ? {} : { runningMs: parseDurationMs(timeLimits.running) }),
    },
    pendingMax: pipeline.spec.queue.max ?? bounds.pendingShardsMax,
    lostLeasesMax: bounds.lostLeasesMax,
  };
}

/** The parameters of a shard with the pipeline's defaults. Throws PDL_PARAMETER_INVALID naming the first that does not fit. */
export function checkParameters(pipeline: Pipeline, given: Parameters): Parameters {
  const declared = pipeline.spec.parameters;
  const checked: Parameters = {};
  for (const [name, value] of Object.entries(given)) {
    const schema = declared[name];
    if (schema === undefined) {
      const close = nearest(name, Object.keys(declared));
      throw new PodlineError('PDL_PARAMETER_INVALID', `pipeline ${pipeline.name} has no parameter ${name}`, {
        place: `parameters.${name}`,
        ...(close === undefined ? {} : { hint: `Did you mean ${close}?` }),
      });
    }
    const reason = whyNot(schema, value);
    if (reason !== undefined)
      throw new PodlineError('PDL_PARAMETER_INVALID', `parameter ${name}: ${reason}`, { place: `parameters.${name}` });
    checked[name] = value;
  }
  for (const [name, schema] of Object.entries(declared)) {
    if (checked[name] !== undefined) continue;
    const fallback: ParameterValue | undefined = schema.default;
    if (fallback === undefined) {
      throw new PodlineError('PDL_PARAMETER_INVALID', `parameter ${name} has no default and must be given`, {
        place: `parameters.${name}`,
      });
    }
    checked[name] = fallback;
  }
  return checked;
}

/** Throws PDL_REQUEST_INVALID when the pipeline has no such group. */
function checkGroup(pipeline: Pipeline, group: string | undefined): string | undefined {
  if (group === undefined) return undefined;
  const known = groupNames(pipeline.spec.groups);
  if (known.includes(group)) return group;
  const close = nearest(group, known);
  throw new PodlineError('PDL_REQUEST_INVALID', `pipeline ${pipeline.name} has no group ${group}`, {
    place: 'group',
    hint: close === undefined ? `Its groups are ${known.join(', ')}.` : `Did you mean ${close}?`,
  });
}

/** Throws PDL_REQUEST_INVALID unless the pipeline has the stage, or it is its input. */
export function requireStage(pipeline: Pipeline, stage: string): void {
  const stages = ['input', ...pipeline.stages.map(({ name }) => name)];
  if (stages.includes(stage)) return;
  const close = nearest(stage, stages);
  throw new PodlineError('PDL_REQUEST_INVALID', `pipeline ${pipeline.name} has no stage ${stage}`, {
    place: 'stage',
    hint: close === undefined ? `Its stages are ${stages.join(', ')}.` : `Did you mean ${close}?`,
  });
}

/** A submission as the journal takes it: source and parameters checked, result directory absolute. Throws PDL_PARAMETER_INVALID or PDL_REQUEST_INVALID. */
export function toNewShard(pipeline: Pipeline, submission: Submission, keyBytesMax: number): NewShard {
  if (submission.key.includes('\0') || Buffer.byteLength(submission.key) > keyBytesMax) {
    throw new PodlineError('PDL_REQUEST_INVALID', `a key must be at most ${String(keyBytesMax)} bytes, without NUL`, {
      place: 'key',
    });
  }
  const { key, source, priority, callback } = submission;
  const trace = usableTrace(submission.trace);
  checkSource(pipeline, source);
  const dir = submission.resultDir ?? pipeline.spec.result.dir;
  const parameters = checkParameters(pipeline, submission.parameters);
  const group = checkGroup(pipeline, submission.group) ?? groupOf(pipeline.spec.groups, { key, parameters });
  const resultDir = isAbsolute(dir) ? dir : resolve(pipeline.baseDir, dir);
  const shard: NewShard = { key, source, parameters, resultDir, priority, group };
  if (trace !== undefined) shard.trace = trace;
  if (callback !== undefined) shard.callback = callback;
  return shard;
}
