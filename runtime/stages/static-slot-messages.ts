/** What the thread behind a slot with a static shim and its parent say to each other. `life`: counts the shims that said hello. */
import type { AgentToShim, AgentToStaticShim, ProgramExited, ShimToAgent } from '../contracts/shim-protocol.js';

export type ToStaticSlot =
  /** A shim is there, holding this step; what the one before had under way is over. */
  | { type: 'begin'; life: number; slot: number; step: string }
  /** What the agent says to the slot. */
  | { type: 'agent'; message: AgentToShim }
  /** What the shim says. */
  | { type: 'exited'; message: ProgramExited }
  /** The shim is gone. */
  | { type: 'lost' }
  | { type: 'close' };

export type FromStaticSlot =
  /** As a Node shim would say it. */
  { type: 'toAgent'; life: number; messages: ShimToAgent[] } | { type: 'toShim'; life: number; message: AgentToStaticShim };
