/** A heart to be asked step by step, with what a line would answer in one word each. */
import { errorCatalogue, type ErrorCode, type WireError } from '../../runtime/contracts/errors.js';
import type { Lease } from '../../runtime/contracts/line-api.js';
import { initialLine, step } from '../../runtime/line/line.js';
import type { KnownStream, LineConfig, LineEffect, LineEvent, LinePipeline, LineState } from '../../runtime/line/types.js';

export const errorOf = (code: ErrorCode): WireError => ({ code, message: code, hint: '', retry: errorCatalogue[code].retry });

export const leaseOf = (shardId: string, more: Partial<Lease> = {}): Lease => ({
  shardId,
  key: shardId,
  epoch: 1,
  attempts: 0,
  source: { inline: 0, format: 'bytes' },
  parameters: {},
  resultDir: '/results',
  ...more,
});

export class Heart {
  readonly state: LineState;
  nowMs = 0;
  /** All effects so far. */
  readonly effects: LineEffect[] = [];

  constructor(pipeline: LinePipeline, config: Partial<LineConfig> = {}) {
    this.state = initialLine(
      {
        slots: 2,
        residentsMax: 4,
        cores: 2,
        stageBackoff: { initialMs: 100, factor: 2, maxMs: 1_000 },
        scratchBytesMax: 1_000,
        ...config,
      },
      pipeline,
      'line-a',
    );
  }

  tell(event: LineEvent): LineEffect[] {
    const effects = step(this.state, event, this.nowMs);
    this.effects.push(...effects);
    return effects;
  }

  tick(afterMs: number): LineEffect[] {
    this.nowMs += afterMs;
    return this.tell({ type: 'tick' });
  }

  lease(shardId: string, more: Partial<Lease> & { queued?: number; needBytes?: number } = {}): LineEffect[] {
    const { queued = 0, needBytes = 10, ...lease } = more;
    return this.tell({ type: 'leased', leases: [{ lease: leaseOf(shardId, lease), needBytes }], queued });
  }

  loaded(shardId: string, ...sealed: string[]): LineEffect[] {
    return this.tell({ type: 'loaded', shardId, known: sealed.map((stream): KnownStream => ({ stream, sealed: true })) });
  }

  /** Every swap that is under way succeeds. */
  warm(): LineEffect[] {
    const effects: LineEffect[] = [];
    for (const [slot, at] of this.state.slots.entries()) {
      if (at.phase !== 'swapping') continue;
      effects.push(...this.tell({ type: 'slotHello', slot, stage: at.stage, step: at.step }));
      effects.push(...this.tell({ type: 'slotReady', slot, step: at.step }));
    }
    return effects;
  }

  /** Slot in which a stage is held or on its way. */
  slotOf(stage: string): number {
    return this.state.slots.findIndex((slot) => slot.phase !== 'empty' && slot.stage === stage);
  }

  runOf(stage: string, shardId?: string): { slot: number; runId: string } {
    for (const [slot, at] of this.state.slots.entries()) {
      if (at.phase === 'running' && at.stage === stage && (shardId === undefined || at.shardId === shardId))
        return { slot, runId: at.runId };
    }
    throw new Error(`stage ${stage} does not run`);
  }

  commit(stage: string, shardId?: string): LineEffect[] {
    return this.tell({ type: 'runCommitted', ...this.runOf(stage, shardId) });
  }

  fail(stage: string, code: ErrorCode = 'PDL_STAGE_FAILED'): LineEffect[] {
    return this.tell({ type: 'runFailed', ...this.runOf(stage), error: errorOf(code) });
  }

  count(type: LineEffect['type']): number {
    return this.effects.filter((effect) => effect.type === type).length;
  }
}

export const only = <T extends LineEffect['type']>(effects: readonly LineEffect[], type: T): (LineEffect & { type: T })[] =>
  effects.filter((effect): effect is LineEffect & { type: T } => effect.type === type);
