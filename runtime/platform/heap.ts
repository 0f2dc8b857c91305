/** How V8 keeps the heap of a process that works on data outside of it. */
import { setFlagsFromString } from 'node:v8';

/** Times the heap that was left by the last collection, above it: V8 itself takes 0.1 to 3, by how it found collecting to go. */
const growthPercent = 500;

/**
 * Lets heaps of this process grow to six times what lives in them before they are marked and compacted; halfway to the largest heap at
 * most, as always. A stage has a small heap and makes a block's arrays outside of it, which V8 counts with it: at its own
 * measure it marks 8 MB of code and classes for every third run of a stage, on a thread beside the stage, and finds that the arrays had gone
 * already with the young objects. For threads that are started later too. V8 passes over a flag that it does not know (ADR 21).
 */
export function letHeapGrow(): void {
  setFlagsFromString(`--heap-growing-percent=${String(growthPercent)}`);
}

/**
 * Collects the young objects that a run has left, if maps of much memory are among them. V8 does that at the next buffer that anybody makes
 * once young buffers hold twice the largest half of the young heap (`Heap::AllocateExternalBackingStore`, V8 11.3); it would be the one for
 * the next message on the socket, in the middle of a hand-over (0.4 ms). To be called when nobody waits.
 */
export function collectYoung(): void {
  new ArrayBuffer(1);
}
