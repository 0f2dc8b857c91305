/** The entry of every process of a baseline: one stage (or the source, or, for the floor, everything) behind one transport. */
import type { FromStage, StageSetup, ToStage } from './stage-protocol.js';
import { StageWork } from './stage-work.js';
import { HttpTransport } from './transports/http.js';
import { WholePipeline } from './transports/one.js';
import { RedisStore } from './transports/redis.js';
import { StoreStage } from './transports/store-stage.js';
import { StreamStage } from './transports/stream-stage.js';

const say = (message: FromStage): void => {
  process.send?.(message);
};
const fail = (thrown: unknown): void => {
  say({ type: 'failed', message: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) });
};

type Told = Extract<ToStage, { type: 'job' | 'connect' | 'forget' }>;
let take: ((message: Told) => void | Promise<void>) | undefined;

async function setUp(setup: StageSetup): Promise<void> {
  let port = 0;
  switch (setup.transport) {
    case 'http': {
      const work = new StageWork(setup, setup.stage);
      await work.load();
      const stage = new StreamStage(
        () => work,
        new HttpTransport(),
        (done) => say({ type: 'done', done }),
        fail,
      );
      port = await stage.listen();
      take = (message) => {
        if (message.type === 'connect') stage.connect(message.ports);
        return message.type === 'job' ? stage.start(message.job) : undefined;
      };
      break;
    }
    case 'redis': {
      const work = new StageWork(setup, setup.stage);
      await work.load();
      const stage = new StoreStage(() => work, await RedisStore.open(setup.socket ?? ''));
      take = async (message) => {
        if (message.type === 'job') say({ type: 'done', done: await stage.run(message.job, message.blocks ?? {}) });
        if (message.type === 'forget') await stage.remove(message.keys);
      };
      break;
    }
    case 'one': {
      const whole = await WholePipeline.open(setup);
      take = async (message) => {
        if (message.type !== 'job') return;
        for (const done of await whole.run(message.job)) say({ type: 'done', done });
      };
      break;
    }
  }
  say({ type: 'ready', port });
}

process.on('message', (message: ToStage) => {
  Promise.resolve(message.type === 'setup' ? setUp(message.setup) : take?.(message)).catch(fail);
});
// Whoever started it is gone, or wants it to end.
process.on('disconnect', () => process.exit(0));
