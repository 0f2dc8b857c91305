/** The entry of a stage's worker thread: loads the module, opens the scratch, then answers blocks until it is ended. */
import { parentPort, workerData } from 'node:worker_threads';
import { PodlineError } from '../contracts/errors.js';
import { openScratch } from '../scratch/scratch.js';
import type { RunVoice } from './context.js';
import { loadStage } from './load.js';
import type { FromThread, ThreadSetup, ToThread } from './threads.js';
import { packed } from './transfer.js';
import { RunWork } from './work.js';

const port = parentPort;
if (port === null) throw new Error('this file is the entry of a worker thread');
const say = (message: FromThread, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);

const { stage, stagesDir, scratch: options } = workerData as ThreadSetup;
const voice: RunVoice = {
  log: (level, message) => say({ type: 'log', level, message }),
  note: (note) => say({ type: 'note', note }),
};

try {
  const [defined, scratch] = await Promise.all([loadStage(stage, stagesDir), openScratch(options)]);
  let run: { work: RunWork; abort: AbortController } | undefined;
  let refused: PodlineError | undefined;
  port.on('message', (message: ToThread) => {
    switch (message.type) {
      case 'begin': {
        run?.work.close();
        const abort = new AbortController();
        refused = undefined;
        run = undefined;
        try {
          run = { work: new RunWork(stage.name, defined, scratch, message.run, abort.signal, voice), abort };
        } catch (thrown) {
          refused = PodlineError.from(thrown);
        }
        return;
      }
      case 'block':
        void work(run, message);
        return;
      case 'cancel':
        run?.abort.abort();
        return;
      case 'end':
        run?.work.close();
        run = undefined;
        return;
    }
  });
  const work = async (on: typeof run, { ticket, block }: Extract<ToThread, { type: 'block' }>): Promise<void> => {
    try {
      if (on === undefined) throw refused ?? new PodlineError('PDL_INTERNAL', 'a block came outside of a run');
      on.abort.signal.throwIfAborted();
      const made = await on.work.work(block);
      const { answer, transfer } = packed(made, (buffer) => on.work.batches.isInput(buffer));
      say({ type: 'answer', ticket, answer, bytes: on.work.bytes }, transfer);
    } catch (thrown) {
      say({ type: 'failed', ticket, error: PodlineError.from(thrown, 'PDL_STAGE_FAILED').toWire() });
    }
  };
  say({ type: 'warm' });
} catch (thrown) {
  say({ type: 'unloadable', error: PodlineError.from(thrown, 'PDL_STAGE_LOAD').toWire() });
}
