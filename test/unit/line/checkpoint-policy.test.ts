import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decideCheckpoints,
  observeWrite,
  weighCheckpoints,
  type Cadence,
  type CheckpointDecision,
  type PlaceState,
  type StreamToKeep,
  type StreamWritten,
} from '../../../runtime/line/checkpoint-policy.js';
import { neededStreams } from '../../../runtime/line/resume.js';

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
    expect(decision?.why).toBe(
      'doing model again would take 1000 ms, which counts half because the shard was never lost; writing 2000000 bytes about 210 ms, restoring them 200 ms',
    );
  });

  it('counts work in full once the shard was lost', () => {
    const streams = [stream('model', { workMs: 600, bytes: 2_000_000 })];
    const speed = { bytesPerMs: 10_000 };
    expect(onSsd('auto', streams, speed)).toBeUndefined();
    const history = { makings: new Map(), losses: 2 };
    const [decision] = decideCheckpoints(streams, { ssd: place('auto', speed) }, 0, history);
    expect(decision?.why).toContain('and the shard was lost 2 times');
  });

  it('counts restoring: what is done again as fast as it is read is not written', () => {
    const cheap = stream('decode', { workMs: 700, bytes: 1_000_000_000 });
    expect(onSsd('auto', [cheap], { bytesPerMs: 3_000_000 })).toBeUndefined();
    expect(onSsd('auto', [{ ...cheap, workMs: 1_400 }], { bytesPerMs: 3_000_000 })).toMatchObject({ atRiskMs: 1_400 });
  });

  it('counts the work of streams that are gone and that nothing else would bring back', () => {
    const streams = [stream('count', { workMs: 5, bytes: 8 })];
    const makings = new Map([
      ['input', { after: [], workMs: 400 }],
      ['clean', { after: ['input'], workMs: 300 }],
      ['count', { after: ['clean'], workMs: 5 }],
    ]);
    const asked = (written: PlaceState['written']): number | undefined =>
      decideCheckpoints(streams, { ssd: place('stage', { written }) }, 0, { makings, losses: 0 })[0]?.atRiskMs;
    expect(asked(new Map())).toBe(705);
    expect(asked(cleanWritten)).toBe(5);
    expect(asked(new Map([['clean', { sealed: false, blocks: 1, bytes: 1, workMs: 1 }]]))).toBe(705);
  });

  it('says with its numbers what it does not write', () => {
    const [verdict] = weighCheckpoints([stream('filter', { workMs: 20, bytes: 500_000_000 })], { ssd: place('auto') }, 0);
    expect(verdict).toMatchObject({ due: false, streams: ['filter'], atRiskMs: 20, restoreMs: 625, writeMs: 635 });
    expect(verdict?.why).toMatch(/^doing filter again would take 20 ms/);
    expect(weighCheckpoints([stream('clean')], { ssd: place('auto', { written: cleanWritten }) }, 0)).toEqual([]);
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

/**
 * A shard on its way through a graph: `input` → s0 …, each stage after some of those before it. Each step lets one stream grow, and then
 * the policy is asked and obeyed, as the agent and the writer of checkpoints do it.
 */
interface Step {
  pick: number;
  workMs: number;
  bytes: number;
  seal: boolean;
}
const graphs = fc
  .integer({ min: 1, max: 5 })
  .chain((size) => fc.tuple(...Array.from({ length: size }, (_, at) => fc.subarray(['input', ...names(at)], { minLength: 1 }))));
const steps = fc.array(
  fc.record({
    pick: fc.nat(),
    workMs: fc.integer({ min: 0, max: 2_000 }),
    bytes: fc.integer({ min: 0, max: 2_000_000_000 }),
    seal: fc.boolean(),
  }),
  { minLength: 1, maxLength: 60 },
);
const names = (size: number): string[] => Array.from({ length: size }, (_, at) => `s${String(at)}`);

interface Walked {
  workMs: number;
  decisions: CheckpointDecision[];
  streams: ReadonlyMap<string, StreamToKeep>;
  written: ReadonlyMap<string, StreamWritten>;
  /** Streams that a resume would want in the end. */
  needed: ReadonlySet<string>;
}

function walk(graph: readonly string[][], taken: readonly Step[], cadence: Cadence, losses: number): Walked {
  const stages = graph.map((after, at) => ({ name: `s${String(at)}`, after }));
  const inputs = new Map<string, readonly string[]>([['input', []], ...stages.map(({ name, after }) => [name, after] as const)]);
  const streams = new Map<string, StreamToKeep>();
  let written = new Map<string, StreamWritten>();
  const decisions: CheckpointDecision[] = [];
  const isSealed = (name: string): boolean => streams.get(name)?.sealed === true;
  const needed = (): Set<string> => neededStreams(stages, [`s${String(graph.length - 1)}`], isSealed);
  let workMs = 0;
  for (const step of taken) {
    const growing = [...inputs].filter(([name, after]) => !isSealed(name) && after.every(isSealed)).map(([name]) => name);
    const name = growing[step.pick % Math.max(1, growing.length)];
    if (name === undefined) break;
    const before = streams.get(name) ?? { stream: name, sealed: false, blocks: 0, bytes: 0, workMs: 0 };
    workMs += step.workMs;
    streams.set(name, {
      ...before,
      sealed: step.seal,
      blocks: before.blocks + 1,
      bytes: before.bytes + step.bytes,
      workMs: before.workMs + step.workMs,
    });
    const kept = [...streams.values()].filter((at) => needed().has(at.stream));
    const makings = new Map([...inputs].map(([at, after]) => [at, { after, workMs: streams.get(at)?.workMs ?? 0 }]));
    for (const decision of decideCheckpoints(kept, { ssd: place(cadence, { written }) }, workMs, { makings, losses })) {
      for (const at of decision.streams) {
        const now = streams.get(at);
        expect(written.get(at), `${at} is not held whole yet`).not.toMatchObject({ sealed: true, blocks: now?.blocks });
      }
      const fresh = new Map([
        ...written,
        ...kept.filter((at) => decision.streams.includes(at.stream)).map((at) => [at.stream, at] as const),
      ]);
      written = new Map([...fresh].filter(([at]) => needed().has(at)));
      decisions.push(decision);
    }
  }
  return { workMs, decisions, streams, written, needed: needed() };
}

describe('a shard on its way', () => {
  it('spends less than half of its work on writing and on reading back, while it was never lost; then never more than the work', () => {
    fc.assert(
      fc.property(graphs, steps, fc.nat({ max: 2 }), (graph, taken, losses) => {
        const { workMs, decisions } = walk(graph, taken, 'auto', losses);
        const movingMs = decisions.reduce((total, { writeMs, restoreMs }) => total + writeMs + restoreMs, 0);
        expect(movingMs).toBeLessThanOrEqual(workMs * (losses === 0 ? 0.5 : 1));
      }),
    );
  });

  it('counts no work twice', () => {
    fc.assert(
      fc.property(graphs, steps, fc.constantFrom<Cadence>('auto', 'stage', { blocks: 2 }), (graph, taken, cadence) => {
        const { workMs, decisions } = walk(graph, taken, cadence, 0);
        expect(decisions.reduce((total, { atRiskMs }) => total + atRiskMs, 0)).toBeLessThanOrEqual(workMs);
      }),
    );
  });

  it('never waits with a whole stream when the cadence is stage', () => {
    fc.assert(
      fc.property(graphs, steps, (graph, taken) => {
        const { streams, written, needed } = walk(graph, taken, 'stage', 0);
        for (const { stream: name, sealed: whole } of streams.values())
          if (whole && needed.has(name)) expect(written.get(name)?.sealed).toBe(true);
      }),
    );
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
