/** `podline serve`: lines and a coordinator that stay, for programs and people that submit shards. */
import { env } from '../../contracts/env.js';
import { readManifest } from '../../config/manifest.js';
import { resolvePipeline } from '../../config/pipeline.js';
import { readServerConfig } from '../../config/server-config.js';
import { serve as serveConfig } from '../../serve/serve.js';
import { createLogger } from '../../telemetry/logger.js';
import { startEmbedded } from '../embedded.js';
import { command, fromHere } from '../hints.js';
import { startLines } from '../start-lines.js';
import { exitCodes, type RunIo } from '../io.js';
import { workDirOf } from './run.js';

export interface ServeOptions {
  workDir?: string | undefined;
  /** `auto`: as many as the manifest’s `scaling` asks for. */
  lines: number | 'auto';
  port: number;
}

/** A coordinator by a configuration, as a process of its own; ends with the signal. */
export async function serveByConfig(file: string | undefined, io: RunIo): Promise<number> {
  const config = await readServerConfig(file ?? process.env[env.config], process.env, process.cwd());
  const served = await serveConfig(config, createLogger({ name: 'coordinator' }));
  try {
    io.out.write(`${served.url}\n`);
    io.err.write(`token of the operator in ${fromHere(served.addressFile)}\nCtrl-C ends it\n`);
    await aborted(io.signal);
    return exitCodes.done;
  } finally {
    await served.close();
  }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => {
      resolve();
    });
  });

/** Goes on with what the work directory holds, and ends with the signal. */
export async function serve(file: string, options: ServeOptions, io: RunIo): Promise<number> {
  const { manifest, baseDir } = await readManifest(file);
  const workDir = workDirOf(manifest, options.workDir);
  const logger = createLogger({ name: 'coordinator' }, { level: process.env.PODLINE_LOG_LEVEL ?? 'info' });
  const embedded = await startEmbedded({ workDir, medium: manifest.spec.scratch.medium, logger, port: options.port });
  try {
    for (const warning of embedded.places.warnings) io.err.write(`warning: ${warning}\n`);
    const resolved = await resolvePipeline(manifest, { baseDir, stagesDir: embedded.places.stagesDir, revision: 0 });
    await embedded.client.applyPipeline(resolved);
    await startLines(embedded, resolved.name, options.lines, io);
    await embedded.coordinator.releaseAbsent(embedded.driver.lineNames);
    io.out.write(`${embedded.url}\n`);
    io.err.write(
      `pipeline ${resolved.name} on ${options.lines === 'auto' ? 'as many lines as there is work' : `${String(options.lines)} ${options.lines === 1 ? 'line' : 'lines'}`}; token in ${fromHere(embedded.places.addressFile)}\n`,
    );
    io.err.write(`submit with:  ${command('submit', resolved.name, '--work-dir', fromHere(workDir), '--input', 'FILE')}\n`);
    io.err.write('Ctrl-C ends it\n');
    await aborted(io.signal);
    return exitCodes.done;
  } finally {
    await embedded.close({ keepScratch: false });
  }
}
