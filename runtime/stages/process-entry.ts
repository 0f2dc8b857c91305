/** The entry of a stage's own process (executor `process`): a thread host behind Node's channel to the shim. */
import { performance } from 'node:perf_hooks';
import { PodlineError } from '../contracts/errors.js';
import { letHeapGrow } from '../platform/heap.js';
import { endProcess } from '../platform/uninterrupted.js';
import { orphanWatch } from '../platform/orphan-watch.js';
import type { RunEvents } from './commits.js';
import type { StageHost } from './host.js';
import { RunNews } from './news.js';
import type { FromStageProcess, ToStageProcess } from './process-protocol.js';
import type { RoomAnswer } from './room.js';
import { ThreadHost } from './thread-host.js';

const say = (message: FromStageProcess): void => {
  process.send?.(message);
};

letHeapGrow();
let host: StageHost | undefined;
let abort: AbortController | undefined;
let news: RunNews | undefined;
let onRoom: ((answer: RoomAnswer) => void) | undefined;

const events: RunEvents = {
  progress: (blocks, blocksTotal, rows) => say({ type: 'progress', blocks, blocksTotal, rows }),
  note: (note) => say({ type: 'note', note }),
  log: (level, message) => say({ type: 'log', level, message }),
  room: (bytes) =>
    new Promise((resolve) => {
      onRoom = resolve;
      say({ type: 'room', bytes });
    }),
};

async function take(message: ToStageProcess): Promise<void> {
  switch (message.type) {
    case 'load': {
      const loading = new ThreadHost(message.setup);
      host = loading;
      try {
        await loading.load();
        say({ type: 'loaded' });
      } catch (thrown) {
        say({ type: 'unloadable', error: PodlineError.from(thrown, 'PDL_STAGE_LOAD').toWire() });
      }
      return;
    }
    case 'run': {
      abort = new AbortController();
      news = new RunNews();
      const end = await host?.run(message.request, events, news, abort.signal, performance.now() - message.waitedMs);
      abort = undefined;
      news = undefined;
      if (end !== undefined) say({ type: 'ended', end });
      return;
    }
    case 'cancel':
      abort?.abort(new Error(message.reason));
      onRoom?.('none');
      return;
    case 'news':
      news?.take(message.news);
      return;
    case 'roomAnswer':
      onRoom?.(message.answer);
      onRoom = undefined;
      return;
    case 'close':
      await host?.close();
      process.disconnect();
      return;
  }
}

process.on('message', (message) => void take(message as ToStageProcess));
// The shim is gone; a stage that does not let this thread go is ended by the watch.
process.on('disconnect', () => endProcess(0));
// The shim decides when this process ends: a Ctrl-C in the terminal reaches both.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
orphanWatch(0);
