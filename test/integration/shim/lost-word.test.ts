/** A shim that dies between its commit and the word of it: the stage is not run again, and its end is told like any other. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { LineTokens } from '../../../runtime/access/line-tokens.js';
import { LineClient } from '../../../runtime/api/line-client.js';
import { startApiServer } from '../../../runtime/api/server.js';
import { openCheckpoints } from '../../../runtime/checkpoints/checkpoints.js';
import type { DriverEvent, LineDriver, SwapOrder } from '../../../runtime/contracts/driver.js';
import { noTracing } from '../../../runtime/contracts/telemetry.js';
import type { AgentToShim, RunRequest } from '../../../runtime/contracts/shim-protocol.js';
import { createCoordinator } from '../../../runtime/coordinator/coordinator.js';
import { openLmdbJournal } from '../../../runtime/journal/lmdb/lmdb-journal.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { closeDelivery } from '../../../runtime/results/deliver.js';
import { openScratch } from '../../../runtime/scratch/scratch.js';
import type { ScratchOptions } from '../../../runtime/scratch/types.js';
import { closeLoadThread } from '../../../runtime/sources/load-in-thread.js';
import { Agent } from '../../../sidecars/agent/agent.js';
import { Shims } from '../../../sidecars/agent/shims.js';
import { AgentConnection } from '../../../sidecars/shim/connection.js';
import { folder, pipelineOf } from '../../support/journal.js';
import { until } from '../../support/until.js';

const line = 'line-0';
const stage = 'copied';

/** In the place of a stage's process: commits what it is told to run, and dies before it has said so, the first time. */
class DyingShim implements LineDriver {
  readonly kind = 'dying';
  runs = 0;
  lives = 0;
  #connection: AgentConnection | undefined;

  constructor(
    private readonly socketPath: string,
    private readonly scratch: ScratchOptions,
  ) {}

  async swap({ slot, step }: SwapOrder): Promise<void> {
    await this.#connection?.close();
    this.lives += 1;
    const instance = `life ${String(this.lives)}`;
    const connection = new AgentConnection(
      this.socketPath,
      {
        onConnected: () =>
          connection.send({ type: 'hello', protocol: 1, slot, step, stage, instance, pid: process.pid, kind: 'node' }),
        onMessage: (message: AgentToShim) => {
          if (message.type === 'welcome') connection.send({ type: 'ready', step, loadMs: 0 });
          if (message.type !== 'start') return;
          this.runs += 1;
          void this.#commit(message)
            .then(() => connection.close())
            .then(() => this.swap({ slot, step } as SwapOrder));
        },
        onLost: () => Promise.resolve(),
      },
      silentLogger,
    );
    this.#connection = connection;
    void connection.run();
  }

  async #commit({ shardId, runId, epoch, lineage }: RunRequest): Promise<void> {
    const scratch = await openScratch({ ...this.scratch, role: 'stage' });
    const run = { runId, epoch };
    const writer = await scratch.openWriter({ shardId, stream: stage, kind: 'bytes', schema: [], lineage, run });
    await writer.appendBytes(Buffer.from('copied'));
    await writer.seal();
    await writer.close();
    await scratch.close();
  }

  async start(): Promise<void> {
    // The test is the line.
  }

  async scale(): Promise<void> {
    // There is the one.
  }

  async stop(): Promise<void> {
    await this.#connection?.close();
  }

  subscribe(_listener: (event: DriverEvent) => void): () => void {
    return () => undefined;
  }
}

it('a stage whose end was not heard is completed once, and told so', async () => {
  const dir = folder();
  const closers: (() => unknown)[] = [];
  onTestFinished(async () => {
    for (const close of closers.reverse()) await close();
  });
  writeFileSync(join(dir, 'in.bin'), 'input');
  const nowMs = (): number => performance.now();
  const scratchOptions: ScratchOptions = {
    ...{ dir: join(dir, 'scratch'), spillDir: join(dir, 'spill'), sizeBytesMax: 2 ** 24 },
    ...{ medium: 'memory', role: 'owner' },
  };
  const driver = new DyingShim(join(dir, 'agent.sock'), scratchOptions);

  const journal = openLmdbJournal({ dir: join(dir, 'journal') });
  const coordinator = await createCoordinator({ journal, driver });
  await coordinator.applyPipeline(
    pipelineOf('copies', {
      input: { format: 'bytes' },
      stages: [{ name: stage, command: ['false'], output: 'bytes' }],
    }),
  );
  const [answer] = await coordinator.submit('copies', [
    {
      key: 'one',
      source: { uri: join(dir, 'in.bin'), format: 'bytes' },
      resultDir: join(dir, 'results'),
      parameters: {},
      priority: 5,
    },
  ]);
  expect(answer).toMatchObject({ outcome: 'accepted' });
  const tokens = new LineTokens(Buffer.alloc(32, 1));
  const server = await startApiServer({ coordinator, gate: tokens });
  closers.push(
    () => journal.close(),
    () => coordinator.close(),
    () => server.close(),
  );

  const client = new LineClient({ url: server.url, token: tokens.issue('copies', line), line, instance: 'a' });
  const hello = { pipeline: 'copies', instance: 'a', node: 'here', slots: 1, residents: [] };
  const { pipeline } = await client.hello(hello);
  const scratch = await openScratch(scratchOptions);
  const checkpoints = openCheckpoints({ ssdDir: join(dir, 'ssd'), logger: silentLogger, nowMs });
  closers.push(
    () => {
      client.close();
    },
    () => scratch.close(),
    () => checkpoints.close(),
    closeDelivery,
    closeLoadThread,
  );
  const agent = new Agent({
    ...{ line, instance: 'a', node: 'here', slots: 1, cores: 1 },
    ...{ scratch, scratchOptions, checkpoints, client, pipeline, nowMs, logger: silentLogger, tracing: noTracing },
  });
  const shims = new Shims(
    join(dir, 'agent.sock'),
    1,
    {
      hello: (slot, said) => {
        agent.shimSaidHello(slot, said);
      },
      message: (slot, said) => {
        agent.shimSaid(slot, said);
      },
      gone: (slot) => {
        agent.shimGone(slot);
      },
    },
    silentLogger,
  );
  await shims.listen();
  closers.push(
    () => shims.close(),
    () => driver.stop(),
    () => agent.end(),
  );
  agent.start(shims);

  await until(async () => (await coordinator.progress('copies')).completed === 1);
  await agent.sayRest();
  const events = (await journal.events(0, 1_000)).filter(({ type }) => type === 'stage.completed');
  expect(events.map(({ data }) => data['stage'])).toEqual([stage]);
  expect({ runs: driver.runs, lives: driver.lives }).toEqual({ runs: 1, lives: 2 });
});
