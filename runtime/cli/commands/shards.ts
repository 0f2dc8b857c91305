/** Commands on shards of a work directory, whether or not a coordinator runs there: thin over the client. */
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { formatBytes, formatDuration } from '../../config/units.js';
import type { SubmissionInput } from '../../api/client.js';
import { PodlineError } from '../../contracts/errors.js';
import type { Shard, Submission } from '../../contracts/shard.js';
import { splitInput } from '../../sources/split.js';
import { reach } from '../reach.js';
import { exitCodes, type RunIo } from './run.js';

type Out = Pick<RunIo, 'out' | 'signal'>;

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
export async function submit(pipelineName: string, options: SubmitOptions, io: Out): Promise<number> {
  const reached = await reach(options.workDir);
  try {
    const view = await reached.client.pipeline(pipelineName);
    if (view.pipeline === undefined) throw new PodlineError('PDL_PIPELINE_UNKNOWN', `there is no pipeline ${pipelineName}`);
    const { spec, baseDir } = view.pipeline;
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
        parameters: coerce(options.param),
        ...(options.resultDir === undefined ? {} : { resultDir: resolve(options.resultDir) }),
      });
    }
    const answers = await reached.client.submitAll(pipelineName, submissions);
    for (const answer of answers) {
      if (options.json) io.out.write(`${JSON.stringify(answer)}\n`);
      else if (answer.outcome === 'rejected')
        io.out.write(`rejected  ${answer.key ?? ''} ${answer.error.code} ${answer.error.message}\n`);
      else io.out.write(`${answer.outcome}  ${answer.id}  ${answer.key}\n`);
    }
    if (!reached.running) io.out.write('no coordinator runs here: the shards wait for the next `podline run --resume`\n');
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

/** The journal checks types against the pipeline; words of the command line become what they look like. */
const coerce = (given: Record<string, string>): Submission['parameters'] =>
  Object.fromEntries(
    Object.entries(given).map(([name, text]) => [
      name,
      text === 'true' ? true : text === 'false' ? false : text !== '' && Number.isFinite(Number(text)) ? Number(text) : text,
    ]),
  );

export async function get(shardId: string, options: { workDir: string; json: boolean }, io: Out): Promise<number> {
  const reached = await reach(options.workDir);
  try {
    const shard = await reached.client.get(shardId);
    if (options.json) {
      io.out.write(`${JSON.stringify(shard)}\n`);
      return exitCodes.done;
    }
    const explanation = await reached.client.explain(shardId);
    io.out.write(`${describeShard(shard, explanation.because)}\n`);
    return exitCodes.done;
  } finally {
    await reached.close();
  }
}

export function describeShard(shard: Shard, because: readonly string[]): string {
  const stages = (shard.report?.stages ?? []).map(
    (stage) =>
      `  ${stage.stage.padEnd(16)} ${stage.outcome.padEnd(9)} ${String(stage.runs)} run${stage.runs === 1 ? ' ' : 's'} ${formatDuration(stage.workMs).padStart(9)} ${formatBytes(stage.bytes.memory.written).padStart(10)}  ${stage.why}`,
  );
  const error =
    shard.error === undefined
      ? []
      : [
          `error      ${shard.error.code} ${shard.error.message}`,
          `           ${shard.error.hint}`,
          ...(shard.error.logTail === undefined ? [] : [shard.error.logTail]),
        ];
  return [
    `${shard.id}  ${shard.key}  ${shard.state}`,
    ...because.map((sentence) => `  ${sentence}`),
    `submitted  ${shard.submittedAt}${shard.endedAt === undefined ? '' : `, ended ${shard.endedAt}`}`,
    ...error,
    ...(shard.result === undefined ? [] : [`result     ${shard.result.dir}`, `hash       ${shard.result.hash}`]),
    ...(stages.length > 0 ? ['stages', ...stages] : []),
  ].join('\n');
}

export async function retry(shardIds: readonly string[], options: { workDir: string }, io: Out): Promise<number> {
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
    else if (!reached.running) io.out.write('they wait for the next `podline run --resume`\n');
    return exitCodes.done;
  } finally {
    await reached.close();
  }
}

/** Lines of the logs of all processes that name the shard, or all lines, in the order of their time. */
export async function logs(shardId: string | undefined, options: { workDir: string; json: boolean }, io: Out): Promise<number> {
  const dir = join(resolve(options.workDir), 'logs');
  const files = await readdir(dir).catch(() => {
    throw new PodlineError('PDL_USAGE', `${dir} is not there: ${options.workDir} is no work directory of podline`, {
      hint: 'Name it with --work-dir.',
    });
  });
  const found: { time: string; source: string; line: string }[] = [];
  for (const file of files.filter((name) => name.endsWith('.log')).sort()) {
    for await (const line of createInterface({ input: createReadStream(join(dir, file)), crlfDelay: Number.POSITIVE_INFINITY })) {
      if (shardId !== undefined && !line.includes(shardId)) continue;
      found.push({ time: timeOf(line), source: file.slice(0, -'.log'.length), line });
      // The newest lines are what somebody looks for.
      if (found.length > logLinesMax) found.shift();
    }
  }
  for (const { source, line } of found.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0))) {
    io.out.write(options.json ? `${line}\n` : `${source}  ${readable(line)}\n`);
  }
  return exitCodes.done;
}

const logLinesMax = 10_000;
/** Fields that the first column says already. */
const inSourceColumn = new Set(['pid', 'name', 'line']);

const timeOf = (line: string): string => /"time":"([^"]+)"/.exec(line)?.[1] ?? '';

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
