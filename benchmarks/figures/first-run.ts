/**
 * The first run of a process: of a slot that was started as soon as it had loaded its stage, and of one that had the time to rehearse.
 * Real shims, one after the other, on one scratch; this process is their agent and decides nothing.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Lineage } from '../../runtime/contracts/block.js';
import { env } from '../../runtime/contracts/env.js';
import type { ResolvedStage } from '../../runtime/contracts/manifest.js';
import type { RunEnded, ShimToAgent, Welcome } from '../../runtime/contracts/shim-protocol.js';
import { entryPath } from '../../runtime/platform/entries.js';
import { silentLogger } from '../../runtime/platform/logger.js';
import { openScratch } from '../../runtime/scratch/scratch.js';
import type { Scratch } from '../../runtime/scratch/types.js';
import { ShimServer, type ShimEvents } from '../../sidecars/agent/shim-server.js';
import type { BenchOptions, Place } from '../options.js';

export interface FirstRun {
  /** From the arrival of the request to the first call of the stage's code, ms. */
  startMs: number;
  /** To the end of the run, its stream sealed, ms. */
  workMs: number;
}

export interface FirstRunFigures {
  blocks: number;
  blockBytes: number;
  atOnce: FirstRun[];
  rehearsed: FirstRun[];
}

const blocks = 4;
/** A run takes milliseconds, and the start of its process half a second. */
const timesEach = 3;
const blockBytes = 64 * 1024;
const stage: ResolvedStage = {
  name: 'pass',
  after: ['input'],
  combine: 'zip',
  version: '',
  parameters: {},
  resources: {},
  retries: 0,
  stdio: 'files',
  output: 'bytes',
  executor: 'thread',
  bound: 'cpu',
  workers: 1,
  module: entryPath('benchmarks/pipelines/pass'),
  declares: { form: 'bytes', keep: 'none' },
};
const lineageOf = (name: string): Lineage => ({ digest: '0'.repeat(64), stage: name, version: '', parameters: '', inputs: {} });

export async function measureFirstRun({ memoryDir }: Place, options: BenchOptions): Promise<FirstRunFigures> {
  const dir = join(memoryDir, 'first-run');
  const place: Welcome['scratch'] = {
    dir: join(dir, 'scratch'),
    spillDir: join(dir, 'spill'),
    sizeBytesMax: 256 * 1024 * 1024,
    medium: 'memory',
  };
  const figures: FirstRunFigures = { blocks, blockBytes, atOnce: [], rehearsed: [] };
  const scratch = await openScratch({ ...place, role: 'owner' });
  const line = new Line(join(dir, 'agent.sock'), place);
  try {
    await line.listen();
    for (let round = 0; round < options.repeats * timesEach; round++) {
      const order = ['atOnce', 'rehearsed'] as const;
      for (const how of round % 2 === 0 ? order : order.toReversed()) {
        options.signal.throwIfAborted();
        const shardId = `${how}-${round}`;
        await makeShard(scratch, shardId);
        const { outcome, startMs, workMs } = await line.firstRun(shardId, how === 'rehearsed');
        if (outcome !== 'committed') throw new Error(`the run of ${shardId} ended ${outcome}`);
        figures[how].push({ startMs, workMs });
        await scratch.dropShard(shardId);
        options.say(`first ${round + 1}: ${how.padEnd(10)} first call ${startMs.toFixed(2)} ms  end ${workMs.toFixed(2)} ms`);
      }
    }
    return figures;
  } finally {
    await line.close();
    await scratch.close();
    await rm(dir, { recursive: true, force: true });
  }
}

async function makeShard(scratch: Scratch, shardId: string): Promise<void> {
  await scratch.putShard({ shardId, epoch: 1, revision: 1 });
  const run = { runId: 'load', epoch: 1 };
  await scratch.beginRun(shardId, 'input', run);
  const writer = await scratch.openWriter({
    shardId,
    stream: 'input',
    kind: 'bytes',
    schema: [],
    lineage: lineageOf('input'),
    run,
  });
  for (let block = 0; block < blocks; block++) await writer.appendBytes(new Uint8Array(blockBytes).fill(block + 1));
  await writer.seal();
  await writer.close();
  await scratch.beginRun(shardId, stage.name, { runId: shardId, epoch: 1 });
}

/** The agent's end of one slot, whose shim is another process for each run. */
class Line {
  readonly #server: ShimServer;
  #onSaid: (said: ShimToAgent['type'], ended?: RunEnded) => void = () => undefined;

  constructor(
    private readonly socket: string,
    scratch: Welcome['scratch'],
  ) {
    const events: ShimEvents = {
      hello: () => void this.#server.send(0, { type: 'welcome', stage, kind: 'bytes', scratch, workers: 1 }),
      message: (_, message) => this.#onSaid(message.type, message.type === 'ended' ? message : undefined),
      gone: () => undefined,
    };
    this.#server = new ShimServer(socket, 1, events, silentLogger);
  }

  listen(): Promise<void> {
    return this.#server.listen();
  }

  close(): Promise<void> {
    return this.#server.close();
  }

  async firstRun(shardId: string, mayRehearse: boolean): Promise<RunEnded> {
    const ready = new Promise<void>((resolve) => (this.#onSaid = (said) => (said === 'ready' ? resolve() : undefined)));
    const shim = spawn(process.execPath, [entryPath('sidecars/shim/main')], {
      stdio: ['pipe', 'ignore', 'pipe'],
      env: {
        ...process.env,
        [env.socket]: this.socket,
        [env.slot]: '0',
        [env.step]: shardId,
        [env.stage]: stage.name,
        [env.lifeline]: '1',
        [env.logLevel]: 'debug',
      },
    });
    try {
      const rehearsed = heard(shim, '"rehearsed"');
      await Promise.race([ready, lost(shim)]);
      if (mayRehearse) await Promise.race([rehearsed, lost(shim)]);
      const ended = new Promise<RunEnded>((resolve) => {
        this.#onSaid = (_, end) => (end === undefined ? undefined : resolve(end));
      });
      this.#server.send(0, {
        type: 'start',
        runId: shardId,
        shardId,
        shardKey: shardId,
        epoch: 1,
        attempt: 1,
        parameters: {},
        inputs: ['input'],
        lineage: lineageOf(stage.name),
        consumed: 0,
      });
      return await Promise.race([ended, lost(shim)]);
    } finally {
      shim.kill('SIGTERM');
      if (shim.exitCode === null && shim.signalCode === null) await once(shim, 'exit');
    }
  }
}

/** Settles when the shim has written it on stderr. */
function heard(shim: ChildProcess, words: string): Promise<void> {
  let said = '';
  return new Promise((resolve) => {
    shim.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes(words)) resolve();
    });
  });
}

async function lost(shim: ChildProcess): Promise<never> {
  const [code, signal] = (await once(shim, 'exit')) as [number | null, string | null];
  throw new Error(`a shim ended with ${String(code ?? signal)}`);
}
