/** `podline run`: a pipeline from manifest to results, in one process group of this machine. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readManifest } from '../../config/manifest.js';
import { resolveParameters } from '../../config/parameters.js';
import { resolvePipeline } from '../../config/pipeline.js';
import type { SubmissionInput } from '../../api/client.js';
import { PodlineError } from '../../contracts/errors.js';
import type { PipelineManifest } from '../../contracts/manifest.js';
import type { Submission } from '../../contracts/shard.js';
import type { Counts } from '../../contracts/views.js';
import type { Journal } from '../../journal/journal.js';
import { addressFileName } from '../../local/places.js';
import { splitInput } from '../../sources/split.js';
import { createLogger } from '../../telemetry/logger.js';
import { startEmbedded, type Embedded } from '../embedded.js';
import { describeSummary, SummaryBuilder, type RunSummary } from '../summary.js';
import { watchUntilDone } from '../watch.js';

export interface RunOptions {
  input?: string[] | undefined;
  param?: Record<string, string> | undefined;
  resultDir?: string | undefined;
  workDir?: string | undefined;
  lines: number;
  resume: boolean;
  json: boolean;
  /** Only these stages and what follows them run again. */
  from?: string | undefined;
}

export interface RunIo {
  out: NodeJS.WriteStream;
  err: NodeJS.WriteStream;
  /** Aborted by Ctrl-C. */
  signal: AbortSignal;
}

export const exitCodes = { done: 0, someFailed: 1, usage: 2, interrupted: 130 } as const;

/** Resolves with the exit code. */
export async function run(file: string, options: RunOptions, io: RunIo): Promise<number> {
  const { manifest, baseDir } = await readManifest(file);
  if (options.input !== undefined)
    manifest.spec.input.source = options.input.map((pattern) =>
      /^[a-z][a-z0-9+.-]*:/i.test(pattern) ? pattern : resolve(pattern),
    );
  if (options.resultDir !== undefined) manifest.spec.result.dir = resolve(options.resultDir);
  if (manifest.spec.input.source === undefined) {
    throw new PodlineError('PDL_USAGE', `${file} names no input`, {
      hint: 'Give --input, add `input.source` to the manifest, or use `podline serve` and submit shards.',
    });
  }
  const parameters = resolveParameters(manifest.spec.parameters, options.param ?? {}, '--param');
  const workDir = workDirOf(manifest, options.workDir);
  const logger = createLogger({ name: 'coordinator' }, { level: process.env.PODLINE_LOG_LEVEL ?? 'warn' });
  const name = manifest.metadata.name;
  const embedded = await startEmbedded({
    workDir,
    medium: manifest.spec.scratch.medium,
    logger,
    begin: (journal) => anewOrGoOn(journal, name, workDir, options),
  });
  let keepScratch = true;
  try {
    for (const warning of embedded.places.warnings) io.err.write(`warning: ${warning}\n`);
    const startedMs = performance.now();
    const pipeline = await resolvePipeline(manifest, { baseDir, stagesDir: embedded.places.stagesDir, revision: 0 });
    const applied = (await embedded.client.applyPipeline(pipeline)).pipeline ?? pipeline;
    await takeUp(embedded, name, options);
    await submitAll(embedded, manifest, { baseDir, parameters });
    await embedded.driver.start(applied, options.lines);
    await embedded.coordinator.releaseAbsent(embedded.driver.lineNames);
    const view = options.json ? 'none' : io.err.isTTY ? 'live' : 'plain';
    const counts = await watchUntilDone({ client: embedded.client, pipeline: applied, signal: io.signal, view, out: io.err });
    if (io.signal.aborted) return await stopped(embedded, file, workDir, io);
    const summary = await summarise(embedded, applied.name, performance.now() - startedMs, counts);
    keepScratch = false;
    io.out.write(options.json ? `${JSON.stringify(summary)}\n` : `${describeSummary(summary)}\n`);
    if (!options.json) io.out.write(nextSteps(file, summary));
    return counts.failed + counts.cancelled > 0 ? exitCodes.someFailed : exitCodes.done;
  } finally {
    await embedded.close({ keepScratch });
  }
}

export const workDirOf = (manifest: PipelineManifest, given: string | undefined): string =>
  resolve(given ?? join('.podline', manifest.metadata.name));

/** A finished run makes way for a new one; an unfinished one is gone on with, if that is wanted, and never thrown away. */
async function anewOrGoOn(journal: Journal, name: string, workDir: string, options: RunOptions): Promise<'goOn' | 'anew'> {
  if ((await journal.pipeline(name)) === undefined) return 'goOn';
  if (options.from !== undefined) return 'goOn';
  const counts = await journal.counts(name);
  const unfinished = counts.pending + counts.running;
  if (unfinished > 0 && !options.resume) {
    const total = unfinished + counts.completed + counts.failed + counts.cancelled;
    throw new PodlineError(
      'PDL_RUN_UNFINISHED',
      `${workDir} holds a run with ${String(unfinished)} of ${String(total)} shards unfinished`,
    );
  }
  // A run that ended cleanly takes its address away; one that was killed may have had inputs that were not submitted yet.
  const killed = existsSync(join(workDir, addressFileName));
  return options.resume && (killed || unfinished + counts.failed + counts.cancelled > 0) ? 'goOn' : 'anew';
}

/** What ended badly is tried again; with `--from`, that stage and what follows it run again on every shard. */
async function takeUp(embedded: Embedded, name: string, options: RunOptions): Promise<void> {
  if (options.from !== undefined) await resumeAll(embedded, name, options.from);
  else if (options.resume) await retryEnded(embedded, name);
}

async function retryEnded({ client }: Embedded, name: string): Promise<void> {
  for (const state of ['failed', 'cancelled'] as const) {
    for await (const shard of client.listAll(name, { state })) await client.retry(shard.id);
  }
}

async function resumeAll({ client }: Embedded, name: string, stage: string): Promise<void> {
  for await (const shard of client.listAll(name)) if (shard.state !== 'running') await client.resumeFrom(shard.id, stage);
}

/** Submissions are sent in batches: one durable transaction for each. */
const batchShards = 1_000;

async function submitAll(
  { client }: Embedded,
  manifest: PipelineManifest,
  given: { baseDir: string; parameters: Submission['parameters'] },
): Promise<void> {
  const { input } = manifest.spec;
  let batch: SubmissionInput[] = [];
  const send = async (): Promise<void> => {
    for (const answer of await client.submitAll(manifest.metadata.name, batch)) {
      if (answer.outcome === 'rejected') throw PodlineError.fromWire(answer.error);
    }
    batch = [];
  };
  for await (const { key, source } of splitInput(input, { baseDir: given.baseDir })) {
    batch.push({ key, source, parameters: given.parameters });
    if (batch.length === batchShards) await send();
  }
  if (batch.length > 0) await send();
}

async function summarise({ client, places }: Embedded, name: string, elapsedMs: number, counts: Counts): Promise<RunSummary> {
  const builder = new SummaryBuilder();
  for await (const listed of client.listAll(name)) builder.add(await client.get(listed.id));
  return builder.build({ pipeline: name, workDir: places.workDir, elapsedMs, counts });
}

async function stopped(embedded: Embedded, file: string, workDir: string, io: RunIo): Promise<number> {
  io.err.write('\nstopping: what is committed is checkpointed …\n');
  await embedded.driver.stop();
  io.err.write(`stopped. Go on with:  npx podline run ${file} --work-dir ${workDir} --resume\n`);
  return exitCodes.interrupted;
}

function nextSteps(file: string, summary: RunSummary): string {
  const page = summary.results[0];
  if (page === undefined) return '';
  return [
    '',
    'Try next:',
    `  npx podline lint ${file}`,
    `  npx podline get ${page.shardId} --work-dir ${summary.workDir}     what happened to the shard, and why`,
    `  npx podline resume ${file} --from ${summary.stages.at(-1)?.stage ?? 'STAGE'}     run a stage again; what is before it stays`,
    '',
  ].join('\n');
}
