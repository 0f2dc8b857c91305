/**
 * An agent that is only a hand: it owns a scratch and a socket, says to shims what a test tells it to, and keeps what they say.
 * The real agent decides; this one does not, so that a test can say anything at any time.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env } from '../../runtime/contracts/env.js';
import type { ColumnSchema, Lineage } from '../../runtime/contracts/block.js';
import type { ResolvedStage } from '../../runtime/contracts/manifest.js';
import {
  shimFrameBytesMax,
  shimToAgentSchema,
  type AgentToShim,
  type AgentToStaticShim,
  type Hello,
  type RunEnded,
  type RunRequest,
  type ShimToAgent,
  type Welcome,
} from '../../runtime/contracts/shim-protocol.js';
import { encodeFrame, FrameDecoder } from '../../runtime/platform/frames.js';
import { openScratch } from '../../runtime/scratch/scratch.js';
import type { ColumnToWrite, Scratch } from '../../runtime/scratch/types.js';
import { StaticSlot } from '../../runtime/stages/static-slot.js';

export const lineageOf = (stage: string, inputs: Record<string, string> = {}, parameters = 'p'): Lineage => ({
  digest: createHash('sha256')
    .update(JSON.stringify([stage, inputs, parameters]))
    .digest('hex'),
  stage,
  version: 'v1',
  parameters,
  inputs,
});

/** A stage as a resolved pipeline has it, with what the test names. */
export const stageOf = (name: string, over: Partial<ResolvedStage>): ResolvedStage => ({
  name,
  after: ['input'],
  combine: 'zip',
  stdio: 'files',
  output: 'table',
  executor: 'thread',
  bound: 'cpu',
  workers: 1,
  parameters: {},
  retries: 0,
  resources: {},
  version: 'v1',
  ...over,
});

type Said = Exclude<ShimToAgent, Hello>;

export class FakeAgent {
  readonly shardId = 'shard-1';
  readonly said: Said[] = [];
  readonly hellos: Hello[] = [];
  /** What a shim is told when it asks for room. */
  room: (bytes: number) => 'memory' | 'ssd' | 'none' | Promise<'memory' | 'ssd' | 'none'> = () => 'none';
  readonly #events = new EventEmitter().setMaxListeners(0);
  readonly #children = new Set<ChildProcess>();
  readonly #sockets = new Map<number, Socket>();
  /** What the real agent has behind a shim that is static. */
  readonly #static = new Map<number, StaticSlot>();
  #server: Server | undefined;

  private constructor(
    readonly dir: string,
    readonly scratch: Scratch,
    readonly sizeBytesMax: number,
  ) {}

  static async start(options: { sizeBytesMax?: number } = {}): Promise<FakeAgent> {
    const dir = await mkdtemp(join(tmpdir(), 'podline-shim-'));
    const sizeBytesMax = options.sizeBytesMax ?? 256 * 1024 * 1024;
    const scratch = await openScratch({
      dir: join(dir, 'scratch'),
      spillDir: join(dir, 'spill'),
      sizeBytesMax,
      medium: 'memory',
      role: 'owner',
    });
    const agent = new FakeAgent(dir, scratch, sizeBytesMax);
    await scratch.putShard({ shardId: agent.shardId, epoch: 1, revision: 1 });
    await agent.listen();
    return agent;
  }

  get socketPath(): string {
    return join(this.dir, 'agent.sock');
  }

  async listen(): Promise<void> {
    this.#server = createServer((socket) => this.#serve(socket)).listen(this.socketPath);
    await once(this.#server, 'listening');
  }

  /** Goes away as a killed agent does. */
  async hangUp(): Promise<void> {
    const server = this.#server;
    for (const foreign of this.#static.values()) foreign.gone();
    for (const socket of this.#sockets.values()) socket.destroy();
    this.#sockets.clear();
    await new Promise((resolve) => server?.close(resolve));
    await rm(this.socketPath, { force: true });
  }

  /** Starts a shim in a slot; what it writes on stderr is kept in `stderr` of what is returned. */
  spawn(
    command: readonly string[],
    stage: string,
    options: { slot?: number; step?: string; env?: Record<string, string>; lifeline?: boolean } = {},
  ): ShimProcess {
    const { slot = 0, step = `step-${randomBytes(3).toString('hex')}`, lifeline = false } = options;
    const [file = '', ...args] = command;
    const child = spawn(file, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {
        ...process.env,
        [env.socket]: this.socketPath,
        [env.slot]: String(slot),
        [env.step]: step,
        [env.stage]: stage,
        [env.stagesDir]: this.dir,
        ...(lifeline ? { [env.lifeline]: '1' } : {}),
        ...options.env,
      },
    });
    this.#children.add(child);
    const shim: ShimProcess = {
      child,
      slot,
      step,
      stderr: '',
      exited: once(child, 'exit').then(([code, signal]): ShimExit => ({ code, signal })),
    };
    child.stderr.on('data', (chunk: Buffer) => (shim.stderr += chunk.toString()));
    child.stdout.resume();
    return shim;
  }

  welcome(stage: ResolvedStage, over: Partial<Welcome> = {}): Welcome {
    return {
      type: 'welcome',
      stage,
      kind: 'table',
      scratch: {
        dir: join(this.dir, 'scratch'),
        sizeBytesMax: this.sizeBytesMax,
        spillDir: join(this.dir, 'spill'),
        medium: 'memory',
      },
      workers: 1,
      ...over,
    };
  }

  send(slot: number, message: AgentToShim): void {
    const foreign = this.#static.get(slot);
    if (foreign === undefined) this.#write(slot, message);
    else foreign.take(message);
  }

  /** Past what the real agent would do with it. */
  sendRaw(slot: number, message: unknown): void {
    this.#sockets.get(slot)?.write(encodeFrame(message, shimFrameBytesMax));
  }

  #write(slot: number, message: AgentToShim | AgentToStaticShim): void {
    this.#sockets.get(slot)?.write(encodeFrame(message, shimFrameBytesMax));
  }

  /** The `count`th hello of all. */
  async hello(count = 1): Promise<Hello> {
    return this.#until(() => this.hellos[count - 1]);
  }

  /** The first thing said that fits, from the `from`th on. */
  async heard<T extends Said['type']>(
    type: T,
    fits: (said: Extract<Said, { type: T }>) => boolean = () => true,
    from = 0,
  ): Promise<Extract<Said, { type: T }>> {
    return this.#until(() =>
      this.said
        .slice(from)
        .find((said): said is Extract<Said, { type: T }> => said.type === type && fits(said as Extract<Said, { type: T }>)),
    );
  }

  /** Hello, welcome, ready. */
  async put(
    command: readonly string[],
    stage: ResolvedStage,
    options: Parameters<FakeAgent['spawn']>[2] & { workers?: number } = {},
  ): Promise<ShimProcess> {
    const heard = this.said.length;
    const shim = this.spawn(command, stage.name, options);
    await this.hello(this.hellos.length + 1);
    this.send(shim.slot, this.welcome(stage, { workers: options.workers ?? 1 }));
    await this.heard('ready', (said) => said.step === shim.step, heard);
    return shim;
  }

  async request(stage: string, over: Partial<RunRequest> = {}): Promise<RunRequest> {
    const runId = `run-${randomBytes(4).toString('hex')}`;
    const inputs = over.inputs ?? ['input'];
    const request: RunRequest = {
      runId,
      shardId: this.shardId,
      shardKey: 'key one',
      epoch: 1,
      attempt: 1,
      parameters: {},
      inputs,
      lineage: lineageOf(
        stage,
        Object.fromEntries(inputs.map((name) => [name, this.scratch.stream(this.shardId, name)?.lineage.digest ?? ''])),
      ),
      consumed: 0,
      ...over,
    };
    await this.scratch.beginRun(this.shardId, stage, { runId: request.runId, epoch: 1 });
    return request;
  }

  /** Starts a run and waits for its end. */
  async run(shim: ShimProcess, stage: string, over: Partial<RunRequest> = {}): Promise<RunEnded> {
    const request = await this.request(stage, over);
    this.send(shim.slot, { type: 'start', ...request });
    return this.heard('ended', (said) => said.runId === request.runId);
  }

  /** Puts a stream into the scratch as a loader or an earlier stage would. */
  async table(stream: string, schema: ColumnSchema[], blocks: { rows: number; columns: ColumnToWrite[] }[]): Promise<void> {
    const run = { runId: `load-${stream}`, epoch: 1 };
    await this.scratch.beginRun(this.shardId, stream, run);
    const writer = await this.scratch.openWriter({
      shardId: this.shardId,
      stream,
      kind: 'table',
      schema,
      lineage: lineageOf(stream),
      run,
    });
    for (const { rows, columns } of blocks) await writer.appendTable(rows, columns);
    await writer.seal();
    await writer.close();
  }

  async bytes(stream: string, chunks: Uint8Array[]): Promise<void> {
    const run = { runId: `load-${stream}`, epoch: 1 };
    await this.scratch.beginRun(this.shardId, stream, run);
    const writer = await this.scratch.openWriter({
      shardId: this.shardId,
      stream,
      kind: 'bytes',
      schema: [],
      lineage: lineageOf(stream),
      run,
    });
    for (const chunk of chunks) await writer.appendBytes(chunk);
    await writer.seal();
    await writer.close();
  }

  /** Ends every shim, by force, and removes everything. */
  async close(): Promise<void> {
    await Promise.all(
      [...this.#children].map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const exited = once(child, 'exit');
        child.kill('SIGKILL');
        await exited;
      }),
    );
    await this.hangUp();
    await Promise.all([...this.#static.values()].map((foreign) => foreign.close()));
    await this.scratch.close();
    await rm(this.dir, { recursive: true, force: true });
  }

  async #until<T>(find: () => T | undefined): Promise<T> {
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      await once(this.#events, 'said');
    }
  }

  #take(slot: number, message: Said): void {
    this.said.push(message);
    if (message.type === 'room') {
      const { runId, bytes } = message;
      void Promise.resolve(this.room(bytes)).then((answer) => this.send(slot, { type: 'roomAnswer', runId, answer }));
    }
    this.#events.emit('said');
  }

  #foreign(slot: number): StaticSlot {
    const foreign =
      this.#static.get(slot) ??
      new StaticSlot(slot, {
        toShim: (message) => this.#write(slot, message),
        toAgent: (message) => this.#take(slot, message),
        onFault: (error) => {
          throw error;
        },
      });
    this.#static.set(slot, foreign);
    return foreign;
  }

  #serve(socket: Socket): void {
    const decoder = new FrameDecoder(shimFrameBytesMax);
    let slot: number | undefined;
    socket.setNoDelay(true);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (slot !== undefined && this.#sockets.get(slot) === socket) this.#static.get(slot)?.gone();
    });
    socket.on('data', (chunk) => {
      for (const raw of decoder.push(chunk)) {
        const message = shimToAgentSchema.parse(raw);
        if (message.type === 'hello') {
          slot = message.slot;
          this.#sockets.set(slot, socket);
          if (message.kind === 'static') this.#foreign(slot).hello(message.step);
          this.hellos.push(message);
        } else {
          const foreign = this.#static.get(slot ?? 0);
          if (foreign === undefined) this.#take(slot ?? 0, message);
          else foreign.heard(message);
        }
      }
      this.#events.emit('said');
    });
  }
}

interface ShimExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface ShimProcess {
  child: ChildProcess;
  slot: number;
  step: string;
  stderr: string;
  exited: Promise<ShimExit>;
}
