/**
 * Which stage belongs in which slot next.
 *
 * The order of stages is known, so the best slot to give up is known too: the one whose stage is needed last (Belady's rule).
 * Added to it is that a swap must not be waited for: the stage that follows is put into a slot and warmed while the one
 * before it works. And a swap is paid once for many shards: a stage stays while a shard is ready for it or soon will be.
 *
 * Invariants
 *  1. A slot that works, or that is being filled, is not planned for.
 *  2. A stage that a shard is ready for, or soon will be, is not given up; a stage is put in for another stage's sake only when
 *     it is needed sooner. So each swap is followed by a run before the slot is planned for again, unless its shards went away.
 *  3. For one shard, a stage that it still needs is given up only when nothing that it can use next would be warm otherwise. From
 *     empty slots that makes as many swaps as there are stages, and never more. Over several shards it is the fewest that there can
 *     be while stages do not overlap; where they follow each other (`streaming.ts`), there are fewer slots to choose from.
 */
import { allStagesFit } from './admission.js';
import { outlookOf, use, type Outlook } from './outlook.js';
import type { PlannedSwap } from './swaps.js';
import type { LineState } from './types.js';

/** What is in a slot, as planning sees it. `free`: it may be given another stage. */
export interface PlannedSlot {
  stage: string | undefined;
  free: boolean;
}

/** The swaps to begin now. */
export function planSwaps(state: LineState, nowMs: number): PlannedSwap[] {
  const slots = state.slots.map((slot): PlannedSlot => ({
    stage: slot.phase === 'empty' ? undefined : slot.stage,
    free: slot.phase !== 'running' && slot.phase !== 'swapping',
  }));
  if (!slots.some((slot) => slot.free)) return [];
  if (
    allStagesFit(state) &&
    slots.every((slot) => slot.stage !== undefined && state.graph.stages.has(slot.stage)) &&
    isEachHeld(state, slots)
  )
    return [];
  const outlook = outlookOf(state, nowMs);
  const plan = new SlotPlan(state, slots, outlook, nowMs);
  plan.takeWhatIsNeeded();
  plan.takeNextShardsEntries();
  plan.doubleWhereManyWait();
  return plan.swaps;
}

const isEachHeld = (state: LineState, slots: readonly PlannedSlot[]): boolean =>
  state.graph.order.every((stage) => slots.some((slot) => slot.stage === stage));

class SlotPlan {
  readonly swaps: PlannedSwap[] = [];
  readonly #state: LineState;
  readonly #slots: PlannedSlot[];
  readonly #outlook: Outlook;
  readonly #nowMs: number;
  #allNeedsHeld = true;

  constructor(state: LineState, slots: PlannedSlot[], outlook: Outlook, nowMs: number) {
    this.#state = state;
    this.#slots = slots;
    this.#outlook = outlook;
    this.#nowMs = nowMs;
  }

  /** In the order of need; where the first finds no slot, a later one would not either. */
  takeWhatIsNeeded(): void {
    const { graph } = this.#state;
    const missing = graph.order
      .filter((stage) => this.#nextUse(stage) < use.nextShard && !this.#isHeld(stage))
      .sort((a, b) => this.#nextUse(a) - this.#nextUse(b) || (graph.remaining.get(b) ?? 0) - (graph.remaining.get(a) ?? 0));
    this.#allNeedsHeld = missing.length === 0;
    for (const stage of missing) {
      if (this.#isTroubled(stage)) continue;
      const index = this.#slotToGiveUp();
      if (index === undefined || !this.#mayReplace(index, stage)) return;
      this.#put(index, stage);
    }
  }

  /** The shards here have begun their last stages: the first stages of the next shard are due, in place of what is needed last. */
  takeNextShardsEntries(): void {
    if (!this.#allNeedsHeld || !this.#outlook.moreWait || this.#outlook.unknown) return;
    for (const stage of this.#state.graph.entries) {
      if (this.#isHeld(stage) || this.#isTroubled(stage)) continue;
      const index = this.#slotToGiveUp();
      if (index === undefined || this.#useOf(index) < use.nextShard || this.#useOf(index) <= this.#nextUse(stage)) return;
      if (this.#useOf(index) !== use.never && this.#isMoreToCome()) return;
      this.#put(index, stage);
    }
  }

  /** Slots that never held anything: a second copy of a stage that several shards wait for, if it can work beside the first. */
  doubleWhereManyWait(): void {
    if (!this.#allNeedsHeld) return;
    for (const [index, slot] of this.#slots.entries()) {
      if (slot.stage !== undefined) continue;
      const stage = this.#state.graph.order
        .map((name) => ({ name, excess: (this.#outlook.ready.get(name) ?? 0) - this.#copiesWithoutWork(name) }))
        .filter(({ name, excess }) => excess > 0 && this.#isHeld(name) && !this.#isTroubled(name) && this.#mayWorkBeside(name))
        .sort((a, b) => b.excess - a.excess)[0];
      if (stage === undefined) return;
      this.#put(index, stage.name);
    }
  }

  #put(index: number, stage: string): void {
    this.#slots[index] = { stage, free: false };
    this.swaps.push({ slot: index, stage });
  }

  /** The free slot whose stage is needed last. */
  #slotToGiveUp(): number | undefined {
    let best: number | undefined;
    for (const [index, slot] of this.#slots.entries()) {
      if (slot.free && (best === undefined || this.#useOf(index) > this.#useOf(best))) best = index;
    }
    return best;
  }

  #mayReplace(index: number, stage: string): boolean {
    const outgoing = this.#useOf(index);
    const incoming = this.#nextUse(stage);
    if (outgoing === use.never) return true;
    // Needed by no shard that is here. While others wait for the line, hold on to it until the swap is due, and then choose.
    if (outgoing >= use.nextShard) return incoming <= use.soon || !(this.#outlook.moreWait || this.#outlook.unknown);
    if (outgoing < use.later || incoming > use.soon || outgoing <= incoming) return false;
    return !this.#isSomethingWarm() || (incoming === use.now && this.#state.residents.size > 1);
  }

  /** A slot without work holds, or will hold, something that can begin now or soon. */
  #isSomethingWarm(): boolean {
    return this.#slots.some(
      (slot, index) =>
        this.#state.slots[index]?.phase !== 'running' && slot.stage !== undefined && this.#nextUse(slot.stage) <= use.soon,
    );
  }

  #useOf(index: number): number {
    const slot = this.#slots[index];
    if (slot?.stage === undefined) return use.never;
    const isCopy = this.#slots.some((other, at) => at !== index && other.stage === slot.stage);
    if (isCopy && (this.#outlook.ready.get(slot.stage) ?? 0) === 0) return use.never;
    return this.#nextUse(slot.stage);
  }

  #nextUse(stage: string): number {
    return this.#outlook.nextUse.get(stage) ?? use.never;
  }

  #isHeld(stage: string): boolean {
    return this.#slots.some((slot) => slot.stage === stage);
  }

  /** A shard here will be ready for a stage that it is not ready for now. */
  #isMoreToCome(): boolean {
    return this.#state.graph.order.some((stage) => this.#nextUse(stage) >= use.soon && this.#nextUse(stage) < use.nextShard);
  }

  #isTroubled(stage: string): boolean {
    const trouble = this.#state.troubles.get(stage);
    return trouble !== undefined && trouble.notBeforeMs > this.#nowMs;
  }

  #copiesWithoutWork(stage: string): number {
    return this.#slots.filter((slot, index) => slot.stage === stage && this.#state.slots[index]?.phase !== 'running').length;
  }

  #mayWorkBeside(stage: string): boolean {
    const { graph, config } = this.#state;
    return graph.stages.get(stage)?.bound === 'io' || this.#slots.filter((slot) => slot.stage === stage).length < config.cores;
  }
}
