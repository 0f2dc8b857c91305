/**
 * Entry point of a line's agent: reads its environment, composes, and ends cleanly.
 *
 * SIGTERM (a pod that is drained, a local run that stops) checkpoints what is committed and gives the leases back.
 * A cut lifeline (the coordinator was killed) ends at once: scratch and checkpoints are as good as they are.
 */
import { availableParallelism } from 'node:os';
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { env } from '../../runtime/contracts/env.js';
import type { Pipeline } from '../../runtime/contracts/manifest.js';
import { LineClient } from '../../runtime/api/line-client.js';
import { openCheckpoints } from '../../runtime/checkpoints/checkpoints.js';
import { parseQuantity } from '../../runtime/config/units.js';
import { canonicalJson } from '../../runtime/line/lineage.js';
import { watchLifeline } from '../../runtime/platform/lifeline.js';
import { endProcess } from '../../runtime/platform/uninterrupted.js';
import { readEnv, readEnvNumber, tokenFromEnv } from '../../runtime/platform/read-env.js';
import { closeDelivery } from '../../runtime/results/deliver.js';
import { closeLoadThread } from '../../runtime/sources/load-in-thread.js';
import { openScratch } from '../../runtime/scratch/scratch.js';
import type { ScratchOptions } from '../../runtime/scratch/types.js';
import { createLogger } from '../../runtime/telemetry/logger.js';
import { openTracing } from '../../runtime/telemetry/tracing.js';
import { Agent } from './agent.js';
import { Shims } from './shims.js';

const nowMs = (): number => performance.now();
const line = readEnv(env.line);
// Of this process: an agent that is started again in the same pod must not name its steps and runs as the one before did.
const instance = [process.env[env.instance], randomBytes(6).toString('hex')].filter((part) => part !== undefined).join('.');
const slots = readEnvNumber(env.slots);
const logger = createLogger({ name: 'agent', line });

/** What was opened, in that order; closed from the last to the first. */
const opened: (() => Promise<void> | void)[] = [];
let ending = false;
process.on('SIGTERM', () => {
  if (ending) return;
  ending = true;
  logger.info({ why: 'SIGTERM' }, 'the agent ends');
  void closeAll()
    .catch((thrown: unknown) => {
      logger.error({ err: String(thrown) }, 'did not end cleanly');
    })
    .then(() => endProcess(0));
});
async function closeAll(): Promise<void> {
  for (let close = opened.pop(); close !== undefined; close = opened.pop()) await close();
}
process.on('SIGINT', () => {
  // Ctrl-C reaches the whole group on a laptop: who started this process ends it in its own order.
});
watchLifeline(() => {
  logger.info({ why: 'the coordinator is gone' }, 'the agent ends');
  // Whatever its threads are at: nobody is left who would end this process if one of them held it up.
  process.kill(process.pid, 'SIGKILL');
});

/** A pipeline that was deleted and applied anew begins with revision 1 again. Whoever worked for the one before ends; what starts it again takes the new one. */
function endUnlessOurs(known: Pipeline): void {
  const ours = agent.pipeline;
  if (known.revision > ours.revision || canonicalJson(known) === canonicalJson(ours)) return;
  logger.warn({ revision: known.revision, ours: ours.revision }, 'the pipeline is another one of the name: the agent ends');
  process.kill(process.pid, 'SIGTERM');
}

const spans = await openTracing('podline-agent', logger);
opened.push(() => spans.close());
const client = new LineClient({
  url: readEnv(env.coordinatorUrl),
  token: tokenFromEnv(),
  line,
  logger,
  instance,
  onWelcome: ({ pipeline: known }) => {
    endUnlessOurs(known);
  },
});
const scratchDir = readEnv(env.scratchDir);
const ssdDir = readEnv(env.ssdDir);
const volumeDir = process.env[env.volumeDir];

await mkdir(scratchDir, { recursive: true, mode: 0o700 });
// The pipeline, and with it the bound of the scratch, comes with the answer; what is resident is said once the scratch is open.
const group = process.env[env.group];
const welcome = await client.hello({
  pipeline: readEnv(env.pipeline),
  ...(group === undefined ? {} : { group }),
  instance,
  node: readEnv(env.node),
  slots,
  residents: [],
});
const { pipeline } = welcome;
const scratchOptions: ScratchOptions = {
  dir: scratchDir,
  spillDir: join(ssdDir, 'spill', line),
  sizeBytesMax: parseQuantity(pipeline.spec.scratch.size),
  medium: process.env[env.scratchMedium] === 'ssd' ? 'ssd' : 'memory',
  role: 'owner',
};
opened.push(() => {
  client.close();
});
const scratch = await openScratch(scratchOptions);
opened.push(() => scratch.close());
const checkpoints = openCheckpoints({ ssdDir, ...(volumeDir === undefined ? {} : { volumeDir }), logger, nowMs });
opened.push(() => checkpoints.close(), closeDelivery, closeLoadThread);
const cores = Math.max(
  1,
  Math.floor(pipeline.spec.resources.cpu === undefined ? availableParallelism() : parseQuantity(pipeline.spec.resources.cpu)),
);
const agent = new Agent({
  line,
  instance,
  node: readEnv(env.node),
  slots,
  cores,
  scratch,
  scratchOptions,
  checkpoints,
  client,
  pipeline,
  logger,
  tracing: spans.tracing,
  nowMs,
});

const socketPath = readEnv(env.socket);
await mkdir(dirname(socketPath), { recursive: true, mode: 0o700 });
const shims = new Shims(
  socketPath,
  slots,
  {
    hello: (slot, hello) => {
      agent.shimSaidHello(slot, hello);
    },
    message: (slot, message) => {
      agent.shimSaid(slot, message);
    },
    gone: (slot) => {
      agent.shimGone(slot);
    },
  },
  logger,
);
await shims.listen();
opened.push(() => shims.close());
agent.start(shims);
opened.push(() => agent.end());
logger.info({ slots, cores, reads: scratch.reads, scratch: scratchDir }, 'the agent is there');
