/** Commands on shards of a work directory, whether or not a coordinator runs there: thin over the client. */
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { resolveParameters } from '../../config/parameters.js';
import { formatBytes, formatDuration } from '../../config/units.js';
import { submitBatchMax, type PodlineClient, type SubmissionInput } from '../../api/client.js';
import { PodlineError } from '../../contracts/errors.js';
import type { Shard, ShardState, SubmitAnswer } from '../../contracts/shard.js';
import type { Explanation } from '../../contracts/views.js';
import { splitInput } from '../../sources/split.js';
import { command, fromHere } from '../hints.js';
import { reach, requireWorkDir } from '../reach.js';
import { alignTable } from '../table.js';
import { exitCodes, type RunIo } from '../io.js';

export interface SubmitOptions {
  workDir: string;
  input: string[];
  key?: string | undefined;
  param: Record<string, string>;
  resultDir?: string | undefined;
  wait: boolean;
  json: boolean;
}

/** Splits the input as the pipeline says, and submits each piece. Returns before anything runs, unless `--wait`. */
export async function submit(pipelineName: string, options: SubmitOptions, io: RunIo): Promise<number> {
  const reached = await reach(options.workDir);
  try {
    const view = await reached.client.pipeline(pipelineName);
    if (view.pipeline === undefined) throw new PodlineError('PDL_PIPELINE_UNKNOWN', `there is no pipeline ${pipelineName}`);
    const { spec, baseDir } = view.pipeline;
    const parameters = resolveParameters(spec.parameters, options.param, '--param');
    const source = options.input.map((pattern) => (/^[a-z][a-z0-9+.-]*:/i.test(pattern) ? pattern : resolve(pattern)));
    const submissions: SubmissionInput[] = [];
    for await (const piece of splitInput({ ...spec.input, source }, { baseDir })) {
      submissions.push({
        ...piece,
        key:
          options.key === undefined
            ? piece.key
            : submissions.length === 0
              ? options.key
              : `${options.key}.${String(submissions.length)}`,
        parameters,
        ...(options.resultDir === undefined ? {} : { resultDir: resolve(options.resultDir) }),
      });
    }
    const answers: SubmitAnswer[] = [];
    for (let at = 0; at < submissions.length; at += submitBatchMax) {
      answers.push(...(await reached.client.submitAll(pipelineName, submissions.slice(at, at + submitBatchMax))));
    }
    for (const answer of answers) {
      if (options.json) io.out.write(`${JSON.stringify(answer)}\n`);
      else if (answer.outcome === 'rejected')
        io.out.write(`rejected  ${answer.key ?? ''} ${answer.error.code} ${answer.error.message}\n`);
      else io.out.write(`${answer.outcome}  ${answer.id}  ${answer.key}\n`);
    }
    if (!reached.running) io.err.write(waitsWords(options.workDir, options.wait));
    const rejected = answers.some((answer) => answer.outcome === 'rejected');
    if (!options.wait || !reached.running) return rejected ? exitCodes.someFailed : exitCodes.done;
    const ended = await Promise.all(
      answers.flatMap((answer) => (answer.outcome === 'rejected' ? [] : [reached.client.waitFor(answer.id, io.signal)])),
    );
    for (const shard of ended)
      io.out.write(
        `${options.json ? JSON.stringify(shard) : `${shard.state}  ${shard.id}  ${shard.result?.dir ?? shard.error?.message ?? ''}`}\n`,
      );
    return rejected || ended.some((shard) => shard.state !== 'completed') ? exitCodes.someFailed : exitCodes.done;
  } finally {
    await reached.close();
  }
}

const waitsWords = (workDir: string, isWaitWanted: boolean): string =>
  [
    `no coordinator runs in ${fromHere(resolve(workDir))}: ${isWaitWanted ? 'not waited; ' : ''}shards wait for one`,
    `  ${command('run', 'PIPELINE', '--work-dir', fromHere(resolve(workDir)), '--resume')}`,
    '',
  ].join('\n');

export interface GetOptions {
  workDir: string;
  json: boolean;
  /** Only when no shard is named. */
  state?: ShardState | undefined;
}

/** One shard and why it is where it is; without an id, a line for each shard. */
export async function get(shardId: string | undefined, options: GetOptions, io: RunIo): Promise<number> {
  const reached = await reach(options.workDir);
  try {
    if (shardId === undefined) {
      await list(reached.client, options, io);
      return exitCodes.done;
    }
    const shard = await reached.client.get(shardId);
    const explanation = await reached.client.explain(shardId);
    io.out.write(options.json ? `${JSON.stringify({ ...shard, explanation })}\n` : `${describeShard(shard, explanation)}\n`);
    return exitCodes.done;
  } finally {
    await reached.close();
  }
}

async function list(client: PodlineClient, { json, state }: GetOptions, io: RunIo): Promise<void> {
  const rows: string[][] = [];
  for (const pipeline of await client.pipelines()) {
    for await (const shard of client.listAll(pipeline.name, state === undefined ? {} : { state })) {
      if (json) io.out.write(`${JSON.stringify(shard)}\n`);
      else rows.push([shard.id, shard.state, shard.key, lastWord(shard)]);
      // Of very many, page by page, so that memory is bounded.
      if (rows.length === tableRowsMax) io.out.write(`${alignTable(rows.splice(0), 'left').join('\n')}\n`);
    }
  }
  if (rows.length > 0) io.out.write(`${alignTable(rows, 'left').join('\n')}\n`);
}

const tableRowsMax = 1_000;

const lastWord = ({ state, result, resultDir, error, stagesDone, notBefore }: Shard): string => {
  if (state === 'completed') return fromHere(result?.dir ?? resultDir);
  if (error !== undefined) return `${error.code} ${error.message}`;
  if (notBefore !== undefined) return `not before ${notBefore}`;
  return stagesDone.length > 0 ? `done: ${stagesDone.join(', ')}` : '';
};

export function describeShard(shard: Shard, { because, advice }: Pick<Explanation, 'because' | 'advice'>): string {
  const { report, result, error } = shard;
  const stages = report?.stages ?? [];
  // The table of stages says these, and more.
  const inTable = new Set(stages.map((stage) => `${stage.stage}: ${stage.outcome}. ${stage.why}`));
  const table = alignTable(
    stages.map((stage) => [
      stage.stage,
      stage.outcome,
      `${String(stage.runs)} ${stage.runs === 1 ? 'run' : 'runs'}`,
      formatDuration(stage.workMs),
      formatBytes(stage.bytes.memory.written),
      stage.why,
    ]),
    'left',
  );
  return [
    `${shard.id}  ${shard.key}  ${shard.state}`,
    ...because.filter((sentence) => !inTable.has(sentence)).map((sentence) => `  ${sentence}`),
    ...(advice === undefined ? [] : [`  ${advice}`]),
    `submitted  ${shard.submittedAt}${shard.endedAt === undefined ? '' : `, ended ${shard.endedAt}`}`,
    ...(error === undefined ? [] : [`error      ${error.code} ${error.message}`, `           ${error.hint}`]),
    ...(error?.logTail === undefined ? [] : [error.logTail]),
    ...(result === undefined
      ? []
      : [
          `result     ${fromHere(result.dir)}`,
          ...result.files.map((file) => `           ${file.name}  ${formatBytes(file.bytes)}`),
          `hash       ${result.hash}`,
        ]),
    ...(table.length > 0 ? ['stages', ...table] : []),
  ].join('\n');
}

export async function retry(shardIds: readonly string[], options: { workDir: string }, io: RunIo): Promise<number> {
  const reached = await reach(options.workDir);
  try {
    const ids = [...shardIds];
    if (ids.length === 0) {
      for (const pipeline of await reached.client.pipelines()) {
        for await (const shard of reached.client.listAll(pipeline.name, { state: 'failed' })) ids.push(shard.id);
      }
    }
    for (const id of ids) {
      const shard = await reached.client.retry(id);
      io.out.write(`${shard.state}  ${shard.id}  ${shard.key}\n`);
    }
    if (ids.length === 0) io.out.write('no shard has failed\n');
    else if (!reached.running) io.err.write(waitsWords(options.workDir, false));
    return exitCodes.done;
  } finally {
    await reached.close();
  }
}

/** Lines of the logs of all processes that name the shard, or all lines, in the order of their time. */
export async function logs(shardId: string | undefined, options: { workDir: string; json: boolean }, io: RunIo): Promise<number> {
  requireWorkDir(resolve(options.workDir));
  const dir = join(resolve(options.workDir), 'logs');
  const files = await readdir(dir);
  const found: { time: string; source: string; line: string }[] = [];
  for (const file of files.filter((name) => name.endsWith('.log'))) {
    const source = file.slice(0, -'.log'.length);
    let time = '';
    for await (const line of createInterface({ input: createReadStream(join(dir, file)), crlfDelay: Number.POSITIVE_INFINITY })) {
      // What bears no time, as lines of a stack, belongs to the line before it.
      time = timeOf(line) ?? time;
      if (shardId !== undefined && !line.includes(shardId)) continue;
      found.push({ time, source, line });
      if (found.length >= 2 * logLinesMax) keepNewest(found);
    }
  }
  keepNewest(found);
  for (const { source, line } of found) io.out.write(options.json ? `${line}\n` : `${source}  ${readable(line)}\n`);
  return exitCodes.done;
}

const logLinesMax = 10_000;

/** Sorts by time, and leaves the newest: they are what somebody looks for, and memory is bounded. */
function keepNewest(lines: { time: string }[]): void {
  lines.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
  lines.splice(0, Math.max(0, lines.length - logLinesMax));
}

/** Fields that the first column says already. */
const inSourceColumn = new Set(['pid', 'name', 'line']);

const timeOf = (line: string): string | undefined => /"time":"([^"]+)"/.exec(line)?.[1];

function readable(line: string): string {
  try {
    const { time, level, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
    const shown = Object.entries(fields).filter(([key]) => !inSourceColumn.has(key));
    const rest = shown.map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
    return `${String(time).slice(11, 23)} ${String(level).padEnd(5)} ${String(msg)}  ${rest.join(' ')}`;
  } catch {
    return line;
  }
}
