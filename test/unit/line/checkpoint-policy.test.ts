import { describe, expect, it } from 'vitest';
import {
  decideCheckpoints,
  observeWrite,
  type Cadence,
  type CheckpointDecision,
  type PlaceState,
  type StreamToKeep,
} from '../../../runtime/line/checkpoint-policy.js';

const stream = (name: string, over: Partial<StreamToKeep> = {}): StreamToKeep => ({
  stream: name,
  sealed: true,
  blocks: 4,
  bytes: 4_000_000,
  workMs: 100,
  ...over,
});
const place = (cadence: Cadence, over: Partial<PlaceState> = {}): PlaceState => ({
  cadence,
  lastAtMs: 0,
  busy: false,
  written: new Map(),
  ...over,
});
const onSsd = (
  cadence: Cadence,
  streams: StreamToKeep[],
  over: Partial<PlaceState> = {},
  nowMs = 0,
): CheckpointDecision | undefined => decideCheckpoints(streams, { ssd: place(cadence, over) }, nowMs)[0];
const { sealed, blocks, bytes, workMs } = stream('clean');
const cleanWritten = new Map([['clean', { sealed, blocks, bytes, workMs }]]);

describe('decideCheckpoints', () => {
  it('writes nothing when the cadence is never', () => {
    expect(onSsd('never', [stream('clean')])).toBeUndefined();
  });

  it('writes each sealed stream once when the cadence is stage', () => {
    const streams = [stream('clean'), stream('join', { sealed: false })];
    expect(onSsd('stage', streams)).toMatchObject({ place: 'ssd', streams: ['clean'], why: 'clean is whole' });
    expect(onSsd('stage', streams, { written: cleanWritten })).toBeUndefined();
  });

  it('writes a stream again that was written before it was sealed', () => {
    const written = new Map([['clean', { sealed: false, blocks: 4, bytes: 4_000_000, workMs: 100 }]]);
    expect(onSsd('stage', [stream('clean')], { written })).toMatchObject({ streams: ['clean'], newBytes: 0 });
  });

  it('waits until enough blocks are new', () => {
    const streams = [stream('clean'), stream('join', { sealed: false, blocks: 3 })];
    expect(onSsd({ blocks: 4 }, streams, { written: cleanWritten })).toBeUndefined();
    expect(onSsd({ blocks: 3 }, streams, { written: cleanWritten })).toMatchObject({ streams: ['join'], newBlocks: 3 });
  });

  it('waits until enough time has passed, and then writes unsealed streams too', () => {
    const streams = [stream('join', { sealed: false })];
    expect(onSsd({ everyMs: 1000 }, streams, { lastAtMs: 500 }, 1499)).toBeUndefined();
    expect(onSsd({ everyMs: 1000 }, streams, { lastAtMs: 500 }, 1500)).toMatchObject({ streams: ['join'] });
  });

  it('writes automatically only when doing it again would take longer than writing it', () => {
    const slow = [stream('model', { workMs: 5_000, bytes: 1_000_000 })];
    const fast = [stream('filter', { workMs: 20, bytes: 500_000_000 })];
    expect(onSsd('auto', slow)).toMatchObject({ streams: ['model'], atRiskMs: 5000 });
    expect(onSsd('auto', fast)).toBeUndefined();
  });

  it('counts automatically only what was done since the last checkpoint', () => {
    const written = new Map([['model', { sealed: false, blocks: 3, bytes: 900_000, workMs: 4_995 }]]);
    expect(onSsd('auto', [stream('model', { workMs: 5_000, bytes: 1_000_000 })], { written })).toBeUndefined();
  });

  it('decides automatically by the speed that was observed, and says its numbers', () => {
    const streams = [stream('model', { workMs: 1_000, bytes: 2_000_000 })];
    expect(onSsd('auto', streams, { bytesPerMs: 1_000 })).toBeUndefined();
    const decision = onSsd('auto', streams, { bytesPerMs: 10_000 });
    expect(decision).toMatchObject({ newBytes: 2_000_000, atRiskMs: 1000, writeMs: 210 });
    expect(decision?.why).toBe('doing model again would take 1000 ms, writing 2000000 bytes about 210 ms');
  });

  it('leaves a place alone whose last write is under way', () => {
    expect(onSsd('stage', [stream('clean')], { busy: true })).toBeUndefined();
  });

  it('does not write an input that is still being read', () => {
    expect(onSsd({ blocks: 1 }, [stream('input', { sealed: false })])).toBeUndefined();
    expect(onSsd({ blocks: 1 }, [stream('input')])).toMatchObject({ streams: ['input'] });
  });

  it('decides for SSD and volume apart', () => {
    const decisions = decideCheckpoints(
      [stream('clean')],
      { ssd: place('stage', { written: cleanWritten }), volume: place('stage') },
      0,
    );
    expect(decisions.map(({ place: where }) => where)).toEqual(['volume']);
  });
});

describe('observeWrite', () => {
  it('takes the first measure as it is and moves half-way to later ones', () => {
    const first = observeWrite(undefined, 1_000_000, 110);
    expect(first).toBe(10_000);
    expect(observeWrite(first, 2_000_000, 110)).toBe(15_000);
  });

  it('learns nothing from a write of nothing', () => {
    expect(observeWrite(7, 0, 50)).toBe(7);
    expect(observeWrite(undefined, 10, 1)).toBeUndefined();
  });
});
