/** `podline run`: a pipeline from manifest to results, in one process group of this machine. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readManifest } from '../../config/manifest.js';
import { nearest } from '../../config/nearest.js';
import { resolveParameters } from '../../config/parameters.js';
import { resolvePipeline } from '../../config/pipeline.js';
import { formatCount } from '../../config/units.js';
import type { SubmissionInput } from '../../api/client.js';
import { PodlineError } from '../../contracts/errors.js';
import type { Pipeline, PipelineManifest } from '../../contracts/manifest.js';
import type { Submission } from '../../contracts/shard.js';
import type { Journal } from '../../journal/journal.js';
import { addressFileName } from '../../local/places.js';
import { defaultReads } from '../../scratch/native.js';
import { splitInput } from '../../sources/split.js';
import { createLogger } from '../../telemetry/logger.js';
import { startEmbedded, type Embedded } from '../embedded.js';
import { command, fromHere } from '../hints.js';
import { startLines } from '../start-lines.js';
import { exitCodes, type RunIo } from '../io.js';
import { checkSameShard } from '../same-shard.js';
import { describeSummary, SummaryBuilder, type RunSummary } from '../summary.js';
import { watchUntilDone } from '../watch.js';

export interface RunOptions {
  input?: string[] | undefined;
  param?: Record<string, string> | undefined;
  resultDir?: string | undefined;
  workDir?: string | undefined;
  lines: number;
  /** `only`: there must be something to go on with. */
  resume: boolean | 'only';
  json: boolean;
  /** This stage and what follows it run again. */
  from?: string | undefined;
}

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
  checkFrom(manifest, options.from);
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
    const after = await embedded.client.lastEventId();
    const pipeline = await resolvePipeline(manifest, { baseDir, stagesDir: embedded.places.stagesDir, revision: 0 });
    const applied = (await embedded.client.applyPipeline(pipeline)).pipeline ?? pipeline;
    await takeUp(embedded, name, options);
    await submitAll(embedded, manifest, { baseDir, parameters });
    if (!options.json) await sayStart(embedded, applied, options.lines, io);
    await startLines(embedded, applied.name, options.lines, io);
    await embedded.coordinator.releaseAbsent(embedded.driver.lineNames);
    const view = options.json ? 'none' : io.err.isTTY ? 'live' : 'plain';
    const counts = await watchUntilDone({
      client: embedded.client,
      pipeline: applied,
      signal: io.signal,
      view,
      out: io.err,
      after,
      settle: () => embedded.coordinator.stopLines(),
    });
    if (io.signal.aborted) await stopping(embedded, io);
    const summary = await summarise(embedded, applied.name, performance.now() - startedMs, io.signal.aborted);
    keepScratch = summary.interrupted;
    if (options.json) io.out.write(`${JSON.stringify(summary)}\n`);
    else if (!summary.interrupted) io.out.write(`${describeSummary(summary)}\n${nextSteps(file, summary, options)}`);
    if (summary.interrupted) return stopped(file, embedded, summary, options, io);
    return counts.failed + counts.cancelled > 0 ? exitCodes.someFailed : exitCodes.done;
  } finally {
    await embedded.close({ keepScratch });
  }
}

export const workDirOf = (manifest: PipelineManifest, given: string | undefined): string =>
  resolve(given ?? join('.podline', manifest.metadata.name));

/** A finished run makes way for a new one; an unfinished one is gone on with, if that is wanted, and never thrown away. */
async function anewOrGoOn(journal: Journal, name: string, workDir: string, options: RunOptions): Promise<'goOn' | 'anew'> {
  if ((await journal.pipeline(name)) === undefined) {
    if (options.resume !== 'only') return 'goOn';
    throw new PodlineError('PDL_USAGE', `${fromHere(workDir)} holds no run of pipeline ${name}`, {
      hint: 'Start one with `podline run`, or name the work directory of one with --work-dir.',
    });
  }
  if (options.from !== undefined || options.resume === 'only') return 'goOn';
  const counts = await journal.counts(name);
  const unfinished = counts.pending + counts.running;
  if (unfinished > 0 && !options.resume) {
    const total = unfinished + counts.completed + counts.failed + counts.cancelled;
    throw new PodlineError(
      'PDL_RUN_UNFINISHED',
      `${fromHere(workDir)} holds a run with ${formatCount(unfinished)} of ${formatCount(total)} shards unfinished`,
    );
  }
  // A run that ended cleanly takes its address away; one that was killed may have had inputs that were not submitted yet.
  const killed = existsSync(join(workDir, addressFileName));
  return options.resume && (killed || unfinished + counts.failed + counts.cancelled > 0) ? 'goOn' : 'anew';
}

/** What ended badly is tried again; with `--from`, that stage and what follows it run again on every shard. */
async function takeUp(embedded: Embedded, name: string, options: RunOptions): Promise<void> {
  if (options.from !== undefined) await resumeAll(embedded, name, options.from);
  else if (options.resume !== false) await retryEnded(embedded, name);
}

async function retryEnded({ client }: Embedded, name: string): Promise<void> {
  for (const state of ['failed', 'cancelled'] as const) {
    for await (const shard of client.listAll(name, { state })) await client.retry(shard.id);
  }
}

async function resumeAll({ client, coordinator }: Embedded, name: string, stage: string): Promise<void> {
  // What a killed run left running runs nowhere: no line has been started yet.
  await coordinator.releaseAbsent([]);
  for await (const shard of client.listAll(name)) await client.resumeFrom(shard.id, stage);
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
    for (const [index, answer] of (await client.submitAll(manifest.metadata.name, batch)).entries()) {
      if (answer.outcome === 'rejected') throw PodlineError.fromWire(answer.error);
      const submission = batch[index];
      if (answer.outcome === 'duplicate' && submission !== undefined) checkSameShard(submission, await client.get(answer.id));
    }
    batch = [];
  };
  for await (const { key, source } of splitInput(input, { baseDir: given.baseDir })) {
    batch.push({ key, source, parameters: given.parameters });
    if (batch.length === batchShards) await send();
  }
  if (batch.length > 0) await send();
}

async function summarise(
  { client, places }: Embedded,
  name: string,
  elapsedMs: number,
  interrupted: boolean,
): Promise<RunSummary> {
  const builder = new SummaryBuilder();
  const { counts } = await client.pipeline(name);
  for await (const listed of client.listAll(name)) builder.add(await client.get(listed.id));
  return builder.build({ reads: defaultReads().reads, pipeline: name, workDir: places.workDir, elapsedMs, interrupted, counts });
}

/** Before anything is touched: a stage that is not there is a slip of the pen. */
function checkFrom(manifest: PipelineManifest, from: string | undefined): void {
  const stages = ['input', ...manifest.spec.stages.map((stage) => stage.name)];
  if (from === undefined || stages.includes(from)) return;
  const near = nearest(from, stages);
  throw new PodlineError('PDL_USAGE', `pipeline ${manifest.metadata.name} has no stage ${from}`, {
    place: '--from',
    hint: near === undefined ? `Its stages are ${stages.join(', ')}.` : `Did you mean ${near}?`,
  });
}

const counted = (count: number, one: string): string => `${formatCount(count)} ${one}${count === 1 ? '' : 's'}`;

async function sayStart({ client, places }: Embedded, pipeline: Pipeline, lines: number, io: RunIo): Promise<void> {
  const { counts } = await client.pipeline(pipeline.name);
  const ended = counts.completed + counts.failed + counts.cancelled;
  const done = ended > 0 ? `; ${formatCount(ended)} done before` : '';
  if (counts.pending + counts.running === 0) {
    io.err.write(`${pipeline.name}: nothing is left to do in ${fromHere(places.workDir)}\n`);
    return;
  }
  const todo = counted(counts.pending + counts.running, 'shard');
  const through = `${counted(pipeline.stages.length, 'stage')} on ${counted(lines, 'line')}`;
  io.err.write(`${pipeline.name}: ${todo} through ${through}${done}; work directory ${fromHere(places.workDir)}\n`);
  const { reads, reason } = defaultReads();
  const how = reads === 'mmap' ? 'read in place, by memory map' : `copied when it is read: ${reason}`;
  io.err.write(`scratch in ${places.scratchMedium === 'memory' ? 'memory' : 'a folder on disk'}, ${how}\n`);
}

async function stopping(embedded: Embedded, io: RunIo): Promise<void> {
  io.err.write('\nstopping: what is committed is checkpointed …\n');
  await embedded.coordinator.stopLines();
}

/** What a run was given must be given again to go on with it. */
function givenAgain({ input, param, resultDir, lines }: RunOptions): string[] {
  return [
    ...(lines > 1 ? ['--lines', String(lines)] : []),
    ...(resultDir === undefined ? [] : ['--result-dir', resultDir]),
    ...Object.entries(param ?? {}).flatMap(([name, value]) => ['--param', `${name}=${value}`]),
    ...(input === undefined ? [] : ['--input', ...input]),
  ];
}

function stopped(file: string, { places }: Embedded, { shards }: RunSummary, options: RunOptions, io: RunIo): number {
  const left = counted(shards.pending + shards.running, 'shard');
  const workDir = fromHere(places.workDir);
  io.err.write(
    [
      `stopped with ${left} left; memory and work directory are kept.`,
      `  go on with     ${command('run', file, '--work-dir', workDir, '--resume', ...givenAgain(options))}`,
      `  give it up by  ${command('clean', '--work-dir', workDir)}`,
      '',
    ].join('\n'),
  );
  return exitCodes.interrupted;
}

function nextSteps(file: string, summary: RunSummary, options: RunOptions): string {
  const of = ['--work-dir', fromHere(summary.workDir)];
  const [result] = summary.results;
  const [failure] = summary.failures;
  const last = summary.stages.at(-1)?.stage;
  const steps: [string, string][] = [
    ...(failure === undefined
      ? []
      : ([
          [command('get', failure.shardId, ...of), 'what happened to a shard that failed, and why'],
          [command('run', file, ...of, '--resume', ...givenAgain(options)), 'try again what failed'],
        ] satisfies [string, string][])),
    ...(result === undefined
      ? []
      : ([[command('get', result.shardId, ...of), 'what each stage did to a shard, and why']] satisfies [string, string][])),
    ...(result === undefined || last === undefined
      ? []
      : ([
          [command('resume', file, ...of, '--from', last, ...givenAgain(options)), `run ${last} again; what is before it stays`],
        ] satisfies [string, string][])),
    [command('clean', ...of), 'give up journal, checkpoints and logs; results stay'],
  ];
  return ['', 'Try next:', ...steps.flatMap(([words, why]) => [`  ${words}`, `      ${why}`]), ''].join('\n');
}
