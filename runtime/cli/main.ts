#!/usr/bin/env node
/** The command `podline`: arguments in, exit code out. Everything else is in `commands/`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { PodlineError, type ErrorCode } from '../contracts/errors.js';
import type { ShardState } from '../contracts/shard.js';
import { packageRoot } from '../platform/entries.js';
import { endProcess } from '../platform/uninterrupted.js';
import type { DoctorOptions } from './commands/doctor.js';
import type { RunOptions } from './commands/run.js';
import { exitCodes, type RunIo } from './io.js';
import { scopes } from '../contracts/access.js';
import type { TokenOptions } from './commands/token.js';
import type { ServeOptions } from './commands/serve.js';
import type { GetOptions, SubmitOptions } from './commands/shards.js';

/** Options of the commands that look into a work directory. */
interface OfWorkDir {
  workDir: string;
  json: boolean;
}

const interrupted = new AbortController();
let interrupts = 0;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    interrupts += 1;
    interrupted.abort();
    // Somebody who asks a third time means it; what is durable stays so.
    if (interrupts > 2) endProcess(exitCodes.interrupted);
  });
}
const io: RunIo = { out: process.stdout, err: process.stderr, signal: interrupted.signal };

const positive = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('It must be a whole number of at least 1.');
  return value;
};
const linesOrAuto = (text: string): number | 'auto' => (text === 'auto' ? 'auto' : positive(text));
const pair = (text: string, before: Record<string, string> | undefined): Record<string, string> => {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be name=value.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
};
const workDirOption = (): Option =>
  new Option('--work-dir <dir>', 'where journal, checkpoints and logs lie').makeOptionMandatory();
const jsonOption = (): Option => new Option('--json', 'answer as JSON').default(false);

const states: ShardState[] = ['pending', 'running', 'completed', 'failed', 'cancelled'];

/** What the caller named is not there, not now, or not of the kind that this takes. */
const useCodes: ReadonlySet<ErrorCode> = new Set([
  'PDL_USAGE',
  'PDL_CONFIG_INVALID',
  'PDL_RUN_UNFINISHED',
  'PDL_WORKDIR_BUSY',
  'PDL_STAGE_LOAD',
  'PDL_STAGE_COLUMNS',
  'PDL_SOURCE_MISSING',
  'PDL_REQUEST_INVALID',
  'PDL_PIPELINE_UNKNOWN',
  'PDL_SHARD_UNKNOWN',
  'PDL_SHARD_STATE',
]);
let exitCode: number = exitCodes.done;
const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string };
const program = new Command('podline')
  .description('A shared-memory assembly line on one node: the data stands still, the stages come to it.')
  .version(version)
  .showHelpAfterError('(podline COMMAND --help tells more)')
  .exitOverride();

const runLike = (name: string, description: string): Command =>
  program
    .command(name)
    .description(description)
    .argument('<pipeline>', 'manifest of the pipeline')
    .option('--input <source...>', 'files, patterns, folders or addresses instead of the manifest’s')
    .option('--param <name=value>', 'a parameter of the shards; may be given several times', pair)
    .option('--result-dir <dir>', 'where results go instead of the manifest’s')
    .option('--work-dir <dir>', 'where journal, checkpoints and logs lie (default: .podline/<pipeline>)')
    .option('--lines <n>', 'shards are worked on by this many lines', positive, 1)
    .addOption(jsonOption());

runLike('run', 'take all of a pipeline’s input through it, and end')
  .option('--resume', 'go on with what the work directory holds unfinished', false)
  .action(async (file: string, options: RunOptions) => {
    const { run } = await import('./commands/run.js');
    exitCode = await run(file, options, io);
  });
runLike('resume', 'go on with an unfinished run; or run a stage, and what follows it, again')
  .option('--from <stage>', 'run this stage and what follows it again on every shard')
  .action(async (file: string, options: RunOptions) => {
    const { run } = await import('./commands/run.js');
    exitCode = await run(file, { ...options, resume: 'only' }, io);
  });
program
  .command('serve')
  .description('keep lines and a coordinator running, for shards that are submitted')
  .argument('[pipeline]', 'manifest of the pipeline')
  .option('--config <file>', 'a coordinator by this configuration instead (docs/server.md)')
  .option('--work-dir <dir>', 'where journal, checkpoints and logs lie (default: .podline/<pipeline>)')
  .option('--lines <n>', 'lines, or `auto`: as many as the manifest’s `scaling` asks for', linesOrAuto, 1)
  .option('--port <n>', 'of the API, on loopback (default: any that is free)', positive)
  .action(
    async (file: string | undefined, options: Partial<ServeOptions> & Pick<ServeOptions, 'lines'> & { config?: string }) => {
      const { serve, serveByConfig } = await import('./commands/serve.js');
      if (file !== undefined && options.config !== undefined)
        throw new PodlineError('PDL_USAGE', 'serve takes a pipeline or --config, and not both');
      exitCode =
        file === undefined
          ? await serveByConfig(options.config, io)
          : await serve(file, { ...options, port: options.port ?? 0 }, io);
    },
  );
program
  .command('token')
  .description('make a token, and its entry for a token file')
  .requiredOption('--name <name>', 'who it is for')
  .addOption(new Option('--scope <scope...>', 'what it may do').choices(scopes).makeOptionMandatory())
  .option('--pipeline <name...>', 'to which pipelines; `etl-*` for all that begin so', ['*'])
  .action(async (options: TokenOptions) => {
    const { token } = await import('./commands/token.js');
    exitCode = token(options, io);
  });
program
  .command('submit')
  .description('submit shards to a pipeline of a work directory')
  .argument('<name>', 'name of the pipeline')
  .addOption(workDirOption())
  .requiredOption('--input <source...>', 'files, patterns, folders or addresses')
  .option('--key <key>', 'key of the shard (default: from the source)')
  .option('--param <name=value>', 'a parameter; may be given several times', pair, {})
  .option('--result-dir <dir>', 'where results go')
  .option('--wait', 'return when they have ended', false)
  .addOption(jsonOption())
  .action(async (name: string, options: SubmitOptions) => {
    const { submit } = await import('./commands/shards.js');
    exitCode = await submit(name, options, io);
  });
program
  .command('get')
  .description('what a shard is doing, or what happened to it, and why; all of them in a line each, if none is named')
  .argument('[shard]', 'id of the shard')
  .addOption(workDirOption())
  .addOption(new Option('--state <state>', 'only shards in this state').choices(states))
  .addOption(jsonOption())
  .action(async (shard: string | undefined, options: GetOptions) => {
    const { get } = await import('./commands/shards.js');
    exitCode = await get(shard, options, io);
  });
program
  .command('logs')
  .description('log lines of a shard, or of all processes')
  .argument('[shard]', 'id of the shard')
  .addOption(workDirOption())
  .addOption(jsonOption())
  .action(async (shard: string | undefined, options: OfWorkDir) => {
    const { logs } = await import('./commands/shards.js');
    exitCode = await logs(shard, options, io);
  });
program
  .command('retry')
  .description('put failed shards back into the queue; all of them, if none is named')
  .argument('[shards...]', 'ids of shards')
  .addOption(workDirOption())
  .action(async (shards: string[], options: OfWorkDir) => {
    const { retry } = await import('./commands/shards.js');
    exitCode = await retry(shards, options, io);
  });
program
  .command('lint')
  .description('find the faults of manifests and their stages without running them')
  .argument('<pipelines...>', 'manifests')
  .addOption(jsonOption())
  .action(async (files: string[], options: { json: boolean }) => {
    const { lint } = await import('./commands/lint.js');
    exitCode = await lint(files, options.json, io);
  });
program
  .command('graph')
  .description('print the graph of a manifest as TypeScript, for the compiler to check the columns between its stages')
  .argument('<pipeline>', 'manifest')
  .action(async (file: string) => {
    const { graph } = await import('./commands/graph.js');
    exitCode = await graph(file, io);
  });
program
  .command('build')
  .description(
    'bundle the TypeScript stages of a manifest as an image carries them: DIR/pipelines/<name>, to be put into /podline',
  )
  .argument('<pipeline>', 'manifest')
  .requiredOption('--out <dir>', 'where the bundles go')
  .addOption(jsonOption())
  .action(async (file: string, options: { out: string; json: boolean }) => {
    const { build } = await import('./commands/build.js');
    exitCode = await build(file, options, io);
  });
program
  .command('doctor')
  .description('look at this machine and, if one is named, at a coordinator: what is wrong, or may become so')
  .option('--url <url>', 'of a coordinator; PODLINE_TOKEN or PODLINE_TOKEN_FILE has the token')
  .option('--ca <file>', 'the authority that signed its certificate')
  .option('--work-dir <dir>', 'of a coordinator on this machine')
  .addOption(jsonOption())
  .action(async (options: DoctorOptions) => {
    const { doctor } = await import('./commands/doctor.js');
    exitCode = await doctor(options, io);
  });
program
  .command('clean')
  .description('give up what a work directory holds; results stay')
  .addOption(workDirOption())
  .action(async (options: OfWorkDir) => {
    const { clean } = await import('./commands/clean.js');
    exitCode = await clean(options.workDir, io);
  });

try {
  await program.parseAsync();
} catch (thrown) {
  exitCode = report(thrown);
}
process.exitCode = exitCode;

/** Errors of use and of the manifest are 2, everything else that stops a command is 1. */
function report(thrown: unknown): number {
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? exitCodes.done : exitCodes.usage;
  const error = PodlineError.from(thrown);
  if (process.argv.includes('--json')) process.stdout.write(`${JSON.stringify({ error: error.toWire() })}\n`);
  process.stderr.write(`${error.code} ${error.message}\n  ${error.hint}\n`);
  if (error.logTail !== undefined) process.stderr.write(`${error.logTail}\n`);
  if (error.code === 'PDL_INTERNAL' && thrown instanceof Error) process.stderr.write(`${thrown.stack ?? ''}\n`);
  const { code } = error;
  const isUse = useCodes.has(code) || code.startsWith('PDL_MANIFEST') || code.startsWith('PDL_PARAMETER');
  return isUse ? exitCodes.usage : exitCodes.someFailed;
}
