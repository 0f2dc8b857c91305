/**
 * Thread entry: what a Node shim does beside running a program, for a slot whose shim is static and knows no scratch. It lays inputs
 * out, takes outputs in and commits them, under the run's id; only the program itself is run by the shim.
 *
 * One slot at a time: the one of a shim that is gone is closed, its folders with it, before the next is begun.
 */
import { parentPort } from 'node:worker_threads';
import { PodlineError } from '../contracts/errors.js';
import { silentLogger } from '../platform/logger.js';
import { CommandHost } from './command-host.js';
import type { HostSetup, StageHost } from './host.js';
import { RemotePrograms } from './remote-programs.js';
import { Slot } from './slot.js';
import type { FromStaticSlot, ToStaticSlot } from './static-slot-messages.js';

if (parentPort === null) throw new Error('static-slot-thread is a thread entry');
const port = parentPort;
const say = (message: FromStaticSlot): void => {
  port.postMessage(message);
};

class Life {
  readonly #slot: Slot;
  #programs: RemotePrograms | undefined;

  constructor(
    readonly number: number,
    slot: number,
    step: string,
  ) {
    this.#slot = new Slot({
      slot,
      step,
      stagesDir: '/',
      hostOf: (setup) => Promise.resolve(this.#hostOf(setup)),
      send: (...messages) => say({ type: 'toAgent', life: number, messages }),
      logger: silentLogger,
    });
  }

  take(message: Extract<ToStaticSlot, { type: 'agent' | 'exited' }>): void {
    if (message.type === 'agent') this.#slot.take(message.message);
    else this.#programs?.take(message.message);
  }

  /** Settles when its folders are gone, and nothing of it writes any more. */
  async end(): Promise<void> {
    this.#programs?.lose();
    await this.#slot.close();
  }

  #hostOf(setup: HostSetup): StageHost {
    const { name, command } = setup.stage;
    if (command === undefined)
      throw new PodlineError('PDL_STAGE_LOAD', `stage ${name} is a module, and its image has no Podline to run it`, {
        place: name,
        hint: 'Build the image of a stage with `uses` on the runtime image (docs/images.md), or give the stage a `command`.',
      });
    this.#programs?.lose();
    const { number } = this;
    this.#programs = new RemotePrograms((message) => say({ type: 'toShim', life: number, message }));
    return new CommandHost(setup, this.#programs);
  }
}

/** What is said to a slot is said to the newest. */
let newest: Life | undefined;
let begun: Promise<void> = Promise.resolve();
/** Until the life that it is for has begun. */
let waiting: Extract<ToStaticSlot, { type: 'agent' | 'exited' }>[] | undefined;

function begin({ life, slot, step }: Extract<ToStaticSlot, { type: 'begin' }>): void {
  const before = newest;
  newest = undefined;
  const mine: typeof waiting = [];
  waiting = mine;
  begun = begun
    .then(() => before?.end())
    .then(() => {
      // Another shim, or the end, may have come meanwhile.
      if (waiting !== mine) return;
      newest = new Life(life, slot, step);
      waiting = undefined;
      for (const message of mine) newest.take(message);
    });
}

async function end(): Promise<void> {
  const before = newest;
  newest = undefined;
  waiting = undefined;
  begun = begun.then(() => before?.end());
  await begun;
}

port.on('message', (message: ToStaticSlot) => {
  switch (message.type) {
    case 'begin':
      begin(message);
      return;
    case 'agent':
    case 'exited':
      if (waiting === undefined) newest?.take(message);
      else waiting.push(message);
      return;
    case 'lost':
      void end();
      return;
    case 'close':
      void end().then(() => port.close());
  }
});
