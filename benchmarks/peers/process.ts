/** The entry of every process of a chain: the source or one stage (or, without a transport, all of them). */
import { FileStore } from '../transports/files.js';
import { GrpcTransport } from '../transports/grpc.js';
import { HttpTransport } from '../transports/http.js';
import { ObjectStore } from '../transports/objects.js';
import { PipeTransport } from '../transports/pipe.js';
import { PostgresStore } from '../transports/postgres.js';
import { RedisStore } from '../transports/redis.js';
import { StoreStage, type BlockStore } from '../transports/store-stage.js';
import { StreamStage, type StreamTransport } from '../transports/stream-stage.js';
import type { Job } from '../work/work.js';
import { ChainStage } from './chain-stage.js';
import { formOf } from './forms.js';
import { OneStage } from './one-stage.js';
import type { ChainSetup, FromChain, Store, StreamName, ToChain } from './protocol.js';

const streams: Record<StreamName, new () => StreamTransport> = { http: HttpTransport, grpc: GrpcTransport, pipe: PipeTransport };

async function storeOf(store: Store): Promise<BlockStore> {
  switch (store.name) {
    case 'redis':
      return RedisStore.open(store.socket);
    case 'objects':
      return new ObjectStore(store.port);
    case 'postgres':
      return new PostgresStore(store.dir, store.user);
    case 'files':
      return new FileStore(store.dir);
  }
}

const say = (message: FromChain): void => {
  process.send?.(message);
};
const fail = (thrown: unknown): void => {
  say({ type: 'failed', message: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) });
};

type Told = Exclude<ToChain, { type: 'setup' }>;
let take: ((message: Told) => void | Promise<void>) | undefined;

async function setUp({ work, carrying, index, by }: ChainSetup): Promise<void> {
  const form = formOf(work, carrying);
  const stages = work.kind === 'flights' ? 0 : work.stages;
  let port = 0;
  if (by.kind === 'nothing') {
    const one = new OneStage(form, stages);
    take = async (message) => {
      if (message.type === 'job') say({ type: 'done', done: { ...(await one.run(message.job)), blocks: 0 } });
    };
  } else if (by.kind === 'stream') {
    const stage = new StreamStage(
      () => new ChainStage(form, index, stages),
      new streams[by.name](),
      (done) => say({ type: 'done', done: { ...done, blocks: 0 } }),
      fail,
    );
    port = index < 0 ? 0 : await stage.listen();
    take = (message) => {
      if (message.type === 'connect') stage.connect(message.ports);
      return message.type === 'job' ? stage.start(message.job) : undefined;
    };
  } else {
    const stage = new StoreStage<unknown, Job, ReturnType<ChainStage['done']>>(
      () => new ChainStage(form, index, stages),
      await storeOf(by.store),
    );
    take = async (message) => {
      if (message.type === 'job') say({ type: 'done', done: await stage.run(message.job, message.blocks) });
      if (message.type !== 'remove') return;
      await stage.remove(message.keys);
      say({ type: 'removed', job: message.job });
    };
  }
  say({ type: 'ready', port });
}

process.on('message', (message: ToChain) => {
  Promise.resolve(message.type === 'setup' ? setUp(message.setup) : take?.(message)).catch(fail);
});
// Whoever started it is gone, or wants it to end.
process.on('disconnect', () => process.exit(0));
