/** The entry of a stage's worker thread: loads the module, opens the scratch, then takes blocks from the ring until it is ended. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { Packr } from 'msgpackr';
import { PodlineError } from '../contracts/errors.js';
import { openScratch } from '../scratch/scratch.js';
import type { Scratch } from '../scratch/types.js';
import { BlockWork, type BlockWorkParts } from './block-work.js';
import type { DefinedStage } from './define.js';
import { loadStage } from './load.js';
import type { ThreadRehearsal } from './rehearsal/in-thread.js';
import { RingWorker } from './ring.js';
import type { RoomAnswer } from './room.js';
import { packing, type FromRun, type FromThread, type ThreadSetup, type ToThread } from './thread-protocol.js';
import { isPromise } from './work.js';
import type { Outcome, RunPlan } from './workers.js';

const port = parentPort;
if (port === null) throw new Error('this file is the entry of a worker thread');
const say = (message: FromThread): void => port.postMessage(message);

const { stage, stagesDir, scratch: options, ring: shared, thread } = workerData as ThreadSetup;
const ring = new RingWorker(shared.memory, shared.shape, thread);
const packr = new Packr(packing);
/** A stage that never waits keeps this thread's events waiting no longer than this. */
const turnEveryMs = 10;

/** There was a block: nothing is left to rehearse for. */
const unrehearsed = new AbortController();
/** What messages change in the run that goes on. */
let abort = new AbortController();
let onRoom: ((answer: RoomAnswer) => void) | undefined;
let onTouch: (() => void) | undefined;

type Load = (signal: AbortSignal, say: (message: FromRun) => void) => BlockWork;

async function run(state: number, isHeld: boolean, load: Load): Promise<void> {
  if (!ring.enter(state)) return;
  abort = new AbortController();
  let said = 0;
  const sayInRun = (message: FromRun): void => {
    said++;
    say(message);
  };
  const tell = (block: number, outcome: Outcome): void => {
    if (outcome.kind === 'nothing') {
      ring.publish(block, 'nothing');
    } else if (outcome.kind === 'partial' || !ring.publish(block, 'bytes', packr.pack(outcome.block))) {
      sayInRun({ type: 'outcome', state, block, outcome });
      ring.publish(block, 'message');
    }
  };
  let work = isHeld ? triedEarly(() => load(abort.signal, sayInRun)) : undefined;
  let turnAtMs = performance.now();
  // A run that is cancelled calls the stage for no further block.
  while (!abort.signal.aborted) {
    const block = ring.claim();
    onTouch = () => work?.touch(block);
    if (!(ring.admits(block) ?? (await ring.admission(block)))) break;
    onTouch = undefined;
    unrehearsed.abort();
    try {
      work ??= load(abort.signal, sayInRun);
      const given = work.do(block);
      const outcome = isPromise(given) ? await given : given;
      if (!ring.isOn) break;
      tell(block, outcome);
    } catch (thrown) {
      sayInRun({ type: 'failed', state, block, error: PodlineError.from(thrown, 'PDL_STAGE_FAILED').toWire() });
      ring.publish(block, 'message');
    }
    if (performance.now() - turnAtMs > turnEveryMs) {
      await nextTurn();
      turnAtMs = performance.now();
    }
  }
  await ring.over();
  const { memory, ssd, network } = work?.bytes ?? { memory: 0, ssd: 0, network: { read: 0, written: 0 } };
  work?.close(nextTurn());
  ring.leave([memory, ssd, network.read, network.written, said]);
}

/** What stands in the way is told by whoever tries again when it counts. */
function triedEarly<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch {
    return undefined;
  }
}

async function rehearse(rehearsal: ThreadRehearsal): Promise<number> {
  const { rehearseBlocks } = await import('./rehearsal/in-thread.js');
  const tell = (outcome: Outcome): void => {
    if (outcome.kind === 'written') packr.pack(outcome.block);
  };
  return rehearseBlocks(rehearsal, tell, unrehearsed.signal);
}

function partsOf(
  defined: DefinedStage,
  scratch: Scratch,
  plan: RunPlan,
  state: number,
  signal: AbortSignal,
  tell: (message: FromRun) => void,
): BlockWorkParts {
  return {
    stage: stage.name,
    defined,
    scratch,
    plan,
    signal,
    voice: {
      log: (level, message) => tell({ type: 'log', state, level, message }),
      note: (note) => tell({ type: 'note', state, note }),
    },
    room: (bytes) =>
      new Promise((resolve) => {
        onRoom = resolve;
        tell({ type: 'room', state, bytes });
      }),
    onCall: () => ring.called(),
    awaitOutput: () => {
      if (!ring.waitOpened()) throw new PodlineError('PDL_SCRATCH_CLOSED', `the run of stage ${stage.name} is over`);
    },
  };
}

try {
  const [defined, scratch] = await Promise.all([loadStage(stage, stagesDir), openScratch(options)]);
  let runs: Promise<void> = Promise.resolve();
  port.on('message', (message: ToThread) => {
    switch (message.type) {
      case 'begin': {
        const { state, plan, isHeld } = message;
        if (!isHeld) unrehearsed.abort();
        const load: Load = (signal, tell) => new BlockWork(partsOf(defined, scratch, plan, state, signal, tell));
        runs = runs.then(() => run(state, isHeld, load));
        return;
      }
      case 'touch':
        onTouch?.();
        return;
      case 'cancel':
        abort.abort();
        onRoom?.('none');
        return;
      case 'roomAnswer':
        onRoom?.(message.answer);
        onRoom = undefined;
        return;
      case 'rehearse':
        void rehearse(message).then(
          (runs) => say({ type: 'rehearsed', runs }),
          (thrown: unknown) => say({ type: 'unrehearsed', error: PodlineError.from(thrown).toWire() }),
        );
        return;
    }
  });
  say({ type: 'warm' });
} catch (thrown) {
  say({ type: 'unloadable', error: PodlineError.from(thrown, 'PDL_STAGE_LOAD').toWire() });
}
