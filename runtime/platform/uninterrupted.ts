/**
 * How threads and processes end without being caught in the middle of what must be finished.
 *
 * LMDB's binding frees a thread's open transaction when the thread is ended, and then waits for a lock that this very
 * transaction holds: `terminate()` would never settle, and `process.exit()` would never return. So a thread that must not be
 * interrupted says so, and whoever ends it waits for that moment to pass.
 *
 * Owns two counters in memory that all threads of the process share: threads inside `uninterrupted`, and endings under way.
 * Invariants
 *  1. Once an ending has begun, no other thread enters a section; those inside leave it. What a section does is short.
 *  2. Nobody waits for ever: after `patienceMs` a thread is ended all the same, and a process ends as by kill -9, which everything here survives.
 *  3. The main thread is never held up at a section: nothing ends it but itself.
 */
import { getEnvironmentData, isMainThread, setEnvironmentData, type Worker } from 'node:worker_threads';

const key = 'podline.ending';
const inside = 0;
const endings = 1;
const patienceMs = 2_000;

const words = sharedWords();

function sharedWords(): Int32Array {
  const known: unknown = getEnvironmentData(key);
  if (known instanceof Int32Array) return known;
  const made = new Int32Array(new SharedArrayBuffer(8));
  setEnvironmentData(key, made);
  return made;
}

/** Runs `action`, which does not wait for anything of this process, to its end before this thread can be ended. */
export function uninterrupted<T>(action: () => T): T {
  if (isMainThread) return action();
  enter();
  try {
    return action();
  } finally {
    leave();
  }
}

/** Settles when the thread is gone. What it was doing outside of a section is cut off. */
export async function endThread(worker: Worker): Promise<void> {
  Atomics.add(words, endings, 1);
  try {
    sectionsLeft();
    await worker.terminate();
  } finally {
    if (Atomics.sub(words, endings, 1) === 1) Atomics.notify(words, endings);
  }
}

/** In place of `process.exit`, where threads may be at work. Of the main thread. */
export function endProcess(code: number): never {
  letSectionsPass();
  process.exit(code);
}

/**
 * However the process ends from here on, also by an error that nobody caught, it lets sections pass. For who starts a thread that has
 * some, on the main thread. May be called again.
 */
export function guardEnd(): void {
  if (!process.listeners('exit').includes(letSectionsPass)) process.on('exit', letSectionsPass);
}

function letSectionsPass(): void {
  Atomics.add(words, endings, 1);
  if (!sectionsLeft()) process.kill(process.pid, 'SIGKILL');
}

function enter(): void {
  for (;;) {
    Atomics.add(words, inside, 1);
    const under = Atomics.load(words, endings);
    if (under === 0) return;
    leave();
    Atomics.wait(words, endings, under);
  }
}

function leave(): void {
  Atomics.sub(words, inside, 1);
  Atomics.notify(words, inside);
}

/** Holds this thread up until no other is in a section: well under a millisecond, as a rule. False when that did not come about. */
function sectionsLeft(): boolean {
  const untilMs = performance.now() + patienceMs;
  for (let count = Atomics.load(words, inside); count > 0; count = Atomics.load(words, inside)) {
    const leftMs = untilMs - performance.now();
    if (leftMs <= 0) return false;
    Atomics.wait(words, inside, count, leftMs);
  }
  return true;
}
