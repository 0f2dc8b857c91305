/// <reference lib="es2024.sharedmemory" />
/**
 * The ring: how the threads of a stage and the thread that commits meet, in memory that they share and without a message for a block.
 *
 * Owns the memory and its rules. Leaves to others what is in a slot, who works, and who commits. One *committer* (the thread of the
 * runner) and any number of *workers*. Blocks have numbers; block n has slot n mod `slots`.
 *
 *     words (Int32)  state │ claims │ window │ end │ opened │ workers' bell │ committer's bell │ inside × threads │ (block + 1, kind, bytes) × slots
 *     counts         Float64 × countsOf × threads        what each worker tells when it leaves
 *     first call     BigInt64                            when the first call of the stage's code began, `process.hrtime`
 *     slots          slotBytes × slots                   what became of a block
 *
 *          committed                 window            end
 *     ─────────┴──┬──┬──┬──┬──┬──┬──┬──┴── … ────────────┴──►  blocks
 *                 │▓▓│  │▓▓│▓▓│  │  │      ▓ published      window ≤ committed + slots
 *
 * Invariants
 *  1. A block is claimed once: claims are given out by `Atomics.add`.
 *  2. A worker writes into the slot of block n only when n < window. `window` ≤ blocks that are committed + slots: what was in the slot
 *     (block n − slots) is committed, and nobody reads it any more.
 *  3. The committer reads the slot of block n only when its word says n + 1. Block numbers only grow, so that word cannot mean an
 *     earlier use of the slot.
 *  4. The committer takes blocks in their order.
 *  5. A worker is inside a run only while the state says that this run goes on, or until it has left; a run is over when it is, and then
 *     the memory may be used for the next.
 *
 * Why no reader sees half a slot. Atomics are sequentially consistent. A worker writes the bytes of a slot and then stores n + 1 in its
 * word: who loads n + 1 sees the bytes. The committer is done with the bytes before it stores the larger window: who loads that
 * window may write over them.
 *
 * Why nobody sleeps through a change. Both sides wait in one way: read the bell, look whether there is something to do, and if not wait
 * until the bell is another one than that. Whoever changes a word rings after the change. A change that comes before the look is
 * seen by the look; one that comes after it has rung a bell that was read before, and the wait returns at once.
 *
 * Why a late worker does no harm. A worker that enters stores `inside` and then loads the state; the committer stores the state and then loads
 * `inside`. One of the two sees the other: the worker that the run is over, or the committer that the worker has entered, and waits.
 */

export interface RingShape {
  /** Blocks that may be under way and not committed. */
  slots: number;
  slotBytes: number;
  threads: number;
}

/** What lies in a slot: bytes, nothing (the block gave nothing to write), or a hint that a message has it. */
export type SlotKind = 'bytes' | 'nothing' | 'message';
export interface Taken {
  block: number;
  kind: SlotKind;
  /** A copy; empty where the kind is another. */
  bytes: Uint8Array;
}

const kinds: readonly SlotKind[] = ['bytes', 'nothing', 'message'];
const word = { state: 0, claims: 1, window: 2, end: 3, opened: 4, workersBell: 5, committerBell: 6 } as const;
const firstInside = 7;
const slotWords = 3;
/** Numbers that a worker tells when it leaves. */
export const countsOf = 5;
const noEnd = -1;
const nothing = new Uint8Array(0);

/** The words of a ring and where they lie; both sides stand on it. */
class RingMemory {
  readonly words: Int32Array;
  readonly counts: Float64Array;
  readonly firstCall: BigInt64Array;
  readonly bytes: Uint8Array;
  readonly #firstSlot: number;

  constructor(
    readonly memory: SharedArrayBuffer,
    readonly shape: RingShape,
  ) {
    const { slots, slotBytes, threads } = shape;
    const places = placesOf(shape);
    this.#firstSlot = firstInside + threads;
    this.words = new Int32Array(memory, 0, this.#firstSlot + slotWords * slots);
    this.counts = new Float64Array(memory, places.counts, countsOf * threads);
    this.firstCall = new BigInt64Array(memory, places.firstCall, 1);
    this.bytes = new Uint8Array(memory, places.slots, slots * slotBytes);
  }

  /** Index of the first word of a block's slot. */
  slotOf(block: number): number {
    return this.#firstSlot + slotWords * (block % this.shape.slots);
  }

  bytesOf(block: number, length: number): Uint8Array {
    const at = (block % this.shape.slots) * this.shape.slotBytes;
    return this.bytes.subarray(at, at + length);
  }

  load(index: number): number {
    return Atomics.load(this.words, index);
  }

  store(index: number, value: number): void {
    Atomics.store(this.words, index, value);
  }

  ring(bell: number): void {
    Atomics.add(this.words, bell, 1);
    Atomics.notify(this.words, bell);
  }

  /** Settles when the bell is another than `heard`. */
  async rung(bell: number, heard: number): Promise<void> {
    const waiting = Atomics.waitAsync(this.words, bell, heard);
    if (waiting.async) await waiting.value;
  }
}

const aligned = (bytes: number): number => Math.ceil(bytes / 64) * 64;

function placesOf({ slots, slotBytes, threads }: RingShape): { counts: number; firstCall: number; slots: number; bytes: number } {
  const counts = aligned(Int32Array.BYTES_PER_ELEMENT * (firstInside + threads + slotWords * slots));
  const firstCall = aligned(counts + Float64Array.BYTES_PER_ELEMENT * countsOf * threads);
  const first = firstCall + 64;
  return { counts, firstCall, slots: first, bytes: first + slots * slotBytes };
}

/** The committer's side. One at a time. */
export class RingCommitter {
  readonly memory: SharedArrayBuffer;
  readonly #ring: RingMemory;
  #blocks = 0;
  #taken = 0;
  #committed = 0;

  constructor(readonly shape: RingShape) {
    this.memory = new SharedArrayBuffer(placesOf(shape).bytes);
    this.#ring = new RingMemory(this.memory, shape);
  }

  /** The number of the run that goes on, for workers to enter it; odd. After `over`, of no run. */
  get state(): number {
    return this.#ring.load(word.state);
  }

  /** Begins a run behind `from` blocks. Nobody is inside. */
  begin(from: number): number {
    const ring = this.#ring;
    const next = ((this.state + 2) % 2 ** 30) | 1;
    for (let n = 0; n < this.shape.slots; n++) ring.store(ring.slotOf(n), 0);
    ring.counts.fill(0);
    Atomics.store(ring.firstCall, 0, 0n);
    this.#blocks = from;
    this.#taken = from;
    this.#committed = from;
    ring.store(word.claims, from);
    ring.store(word.window, from);
    ring.store(word.end, noEnd);
    ring.store(word.opened, 0);
    ring.store(word.state, next);
    return next;
  }

  /** There are so many blocks; `isWhole`: and will be no more. */
  grow(blocks: number, isWhole: boolean): void {
    this.#blocks = Math.max(this.#blocks, blocks);
    if (isWhole) this.#ring.store(word.end, this.#blocks);
    this.#admit();
  }

  /** The stream of the output is there: workers may write. */
  open(): void {
    this.#ring.store(word.opened, 1);
    this.#ring.ring(word.workersBell);
  }

  /** The block that is taken next. */
  get nextBlock(): number {
    return this.#taken;
  }

  /** The next block, if it is published and its kind is one that can be taken now. */
  take(isTakable: (kind: SlotKind) => boolean = () => true): Taken | undefined {
    const ring = this.#ring;
    const block = this.#taken;
    const slot = ring.slotOf(block);
    if (ring.load(slot) !== block + 1) return undefined;
    const kind = kinds[ring.load(slot + 1)] ?? 'nothing';
    if (!isTakable(kind)) return undefined;
    const bytes = kind === 'bytes' ? ring.bytesOf(block, ring.load(slot + 2)).slice() : nothing;
    this.#taken++;
    return { block, kind, bytes };
  }

  /** All that was taken is committed: as many slots are free again. */
  release(): void {
    if (this.#committed === this.#taken) return;
    this.#committed = this.#taken;
    this.#admit();
  }

  /** Everything that there will ever be has been taken. */
  get isDone(): boolean {
    return this.#ring.load(word.end) === this.#taken;
  }

  /** No claim is admitted any more. Workers leave; `inside` tells which have not yet. */
  over(): void {
    this.#ring.store(word.state, this.state & ~1);
    this.#ring.ring(word.workersBell);
  }

  isInside(thread: number): boolean {
    return this.#ring.load(firstInside + thread) !== 0;
  }

  /** For a worker whose thread is gone. */
  forget(thread: number): void {
    this.#ring.store(firstInside + thread, 0);
  }

  /** What the workers told when they left, added up. */
  counts(): number[] {
    const sums = new Array<number>(countsOf).fill(0);
    this.#ring.counts.forEach((count, index) => (sums[index % countsOf] = (sums[index % countsOf] ?? 0) + count));
    return sums;
  }

  /** `process.hrtime` of the first call of the stage's code in this run. */
  get firstCallNs(): bigint | undefined {
    const ns = Atomics.load(this.#ring.firstCall, 0);
    return ns === 0n ? undefined : ns;
  }

  /** To be read before looking for something to do, and given to `rung` when there was nothing. */
  get bell(): number {
    return this.#ring.load(word.committerBell);
  }

  rung(heard: number): Promise<void> {
    return this.#ring.rung(word.committerBell, heard);
  }

  /** Wakes the committer itself: for what happens outside of the ring. */
  ring(): void {
    this.#ring.ring(word.committerBell);
  }

  #admit(): void {
    this.#ring.store(word.window, Math.min(this.#blocks, this.#committed + this.shape.slots));
    this.#ring.ring(word.workersBell);
  }
}

/** A worker's side. */
export class RingWorker {
  readonly #ring: RingMemory;
  #state = 0;

  constructor(
    memory: SharedArrayBuffer,
    shape: RingShape,
    private readonly thread: number,
  ) {
    this.#ring = new RingMemory(memory, shape);
  }

  /** Enters a run; false when it is over already. */
  enter(state: number): boolean {
    this.#state = state;
    this.#ring.store(firstInside + this.thread, 1);
    if (this.isOn) return true;
    this.leave([]);
    return false;
  }

  /** The run that was entered goes on. */
  get isOn(): boolean {
    return this.#ring.load(word.state) === this.#state;
  }

  claim(): number {
    return Atomics.add(this.#ring.words, word.claims, 1);
  }

  /** Whether a claimed block may be worked on; undefined: not yet. */
  admits(block: number): boolean | undefined {
    const ring = this.#ring;
    if (!this.isOn) return false;
    if (block < ring.load(word.window)) return true;
    const end = ring.load(word.end);
    return end !== noEnd && block >= end ? false : undefined;
  }

  /** The same, waited for; the thread's other work goes on meanwhile. */
  async admission(block: number): Promise<boolean> {
    for (;;) {
      const heard = this.#ring.load(word.workersBell);
      const admitted = this.admits(block);
      if (admitted !== undefined) return admitted;
      await this.#ring.rung(word.workersBell, heard);
    }
  }

  /** Stands still until the stream of the output is there; false when the run is over. */
  waitOpened(): boolean {
    const ring = this.#ring;
    for (;;) {
      const heard = ring.load(word.workersBell);
      if (ring.load(word.opened) === 1) return true;
      if (!this.isOn) return false;
      Atomics.wait(ring.words, word.workersBell, heard);
    }
  }

  /** The stage's code is about to be called; only the first of all is kept. */
  called(): void {
    if (Atomics.load(this.#ring.firstCall, 0) === 0n)
      Atomics.compareExchange(this.#ring.firstCall, 0, 0n, process.hrtime.bigint());
  }

  /** Tells what became of an admitted block; false where it does not fit into a slot. */
  publish(block: number, kind: SlotKind, bytes: Uint8Array = nothing): boolean {
    const ring = this.#ring;
    if (bytes.byteLength > ring.shape.slotBytes) return false;
    const slot = ring.slotOf(block);
    ring.bytesOf(block, bytes.byteLength).set(bytes);
    ring.store(slot + 1, kinds.indexOf(kind));
    ring.store(slot + 2, bytes.byteLength);
    ring.store(slot, block + 1);
    ring.ring(word.committerBell);
    return true;
  }

  /** Settles when the run is over: nothing that was written for it is still to be committed. */
  async over(): Promise<void> {
    for (;;) {
      const heard = this.#ring.load(word.workersBell);
      if (!this.isOn) return;
      await this.#ring.rung(word.workersBell, heard);
    }
  }

  leave(counts: readonly number[]): void {
    const ring = this.#ring;
    counts.forEach((count, index) => (ring.counts[this.thread * countsOf + index] = count));
    ring.store(firstInside + this.thread, 0);
    ring.ring(word.committerBell);
  }
}
