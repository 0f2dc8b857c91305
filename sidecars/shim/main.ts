/**
 * The entrypoint of a slot. Connects to the agent, says which stage was put here, loads it, runs it when told to, and parks.
 *
 * It never exits by itself (an exit makes the kubelet restart it with growing back-off), except when it is told to: SIGTERM, or
 * the end of its lifeline. What it is told comes by environment: see `contracts/env.ts`. Without a step it parks in silence.
 */
import { randomBytes } from 'node:crypto';
import { env } from '../../runtime/contracts/env.js';
import { limits } from '../../runtime/contracts/limits.js';
import { shimProtocolVersion } from '../../runtime/contracts/shim-frames.js';
import { endProcess } from '../../runtime/platform/uninterrupted.js';
import { letHeapGrow } from '../../runtime/platform/heap.js';
import { watchLifeline } from '../../runtime/platform/lifeline.js';
import { readEnv, readEnvNumber } from '../../runtime/platform/read-env.js';
import { AgentConnection } from './connection.js';
import { parkEmpty } from './empty-slot.js';
import { stderrLogger } from './log.js';
import { Slot } from '../../runtime/stages/slot.js';

letHeapGrow();
const slotNumber = readEnvNumber(env.slot);
const step = process.env[env.step] === '' ? await parkEmpty() : readEnv(env.step);
const stage = readEnv(env.stage);
const logger = stderrLogger(process.env[env.logLevel], { name: 'shim', slot: slotNumber, stage });
const instance = randomBytes(8).toString('hex');

const connection = new AgentConnection(
  readEnv(env.socket),
  {
    onConnected: () =>
      connection.send({
        type: 'hello',
        protocol: shimProtocolVersion,
        slot: slotNumber,
        step,
        stage,
        instance,
        pid: process.pid,
        kind: 'node',
      }),
    onMessage: (message) => slot.take(message),
    onLost: () => slot.cancel('the agent is gone'),
  },
  logger,
);
// What a stage needs is brought in while the agent thinks about the hello.
const hosts = import('../../runtime/stages/host.js');
const slot = new Slot({
  slot: slotNumber,
  step,
  stagesDir: process.env[env.stagesDir] ?? process.cwd(),
  hostOf: async (setup) => (await hosts).hostOf(setup),
  send: (...messages) => connection.send(...messages),
  logger,
  rehearses: true,
});

let ending = false;
function end(why: string): void {
  if (ending) return;
  ending = true;
  logger.debug({}, `ends: ${why}`);
  // A stage that does not let go must not hold the slot beyond what whoever ends it will wait.
  setTimeout(() => endProcess(0), limits.terminationGraceMs * 0.8).unref();
  void slot
    .close()
    .then(() => connection.close())
    .catch((thrown: unknown) => logger.error({ err: String(thrown) }, 'did not end cleanly'))
    .then(() => endProcess(0));
}

process.on('SIGTERM', () => end('SIGTERM'));
// Ctrl-C in a terminal reaches every process of the group: whoever started this one ends it in order.
process.on('SIGINT', () => (process.env[env.lifeline] === '1' ? undefined : end('SIGINT')));
process.on('uncaughtException', (thrown) => slot.stray(thrown));
process.on('unhandledRejection', (thrown) => slot.stray(thrown));
watchLifeline(() => end('its lifeline was cut'));
if (process.env[env.lifeline] === '1') {
  void import('../../runtime/platform/orphan-watch.js').then(({ orphanWatch }) => orphanWatch(limits.terminationGraceMs));
}

await connection.run();
