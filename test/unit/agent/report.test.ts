import { beforeEach, describe, expect, it } from 'vitest';
import { noBytes } from '../../../runtime/contracts/block.js';
import type { ResolvedStage } from '../../../runtime/contracts/manifest.js';
import type { RunEnded } from '../../../runtime/contracts/shim-protocol.js';
import { ShardReportBuilder } from '../../../sidecars/agent/report.js';

const stage = (name: string, ...after: string[]): ResolvedStage =>
  ({ name, after, executor: 'thread' }) as Partial<ResolvedStage> as ResolvedStage;
const stages = [stage('a', 'input'), stage('b', 'input'), stage('c', 'a', 'b')];

let report: ShardReportBuilder;
beforeEach(() => {
  report = new ShardReportBuilder(stages);
});

const load = { rows: 1, ms: 5, sourceReads: 1, bytes: noBytes() };
const committed = (calledAtMs: number, endedAtMs: number): RunEnded => ({
  ...{ type: 'ended', runId: 'r', outcome: 'committed', startMs: 1, workMs: 2, blocks: 1, rows: 1, bytes: noBytes() },
  calledAtMs,
  endedAtMs,
});

/** As the agent does it; the hand-over that is told. */
function run(name: string, ended: RunEnded, heardMs = 999): number {
  report.started(name, 0, undefined);
  const handoverMs = report.handoverMs(name, ended, heardMs);
  report.ended(name, ended, handoverMs);
  return handoverMs;
}
const of = (name: string) => report.build().stages.find((told) => told.stage === name);

describe('hand-over', () => {
  it('goes from the last of the inputs being whole to the first call, by the clock of the node', () => {
    report.loaded(load, 100);
    expect(run('a', committed(103, 150))).toBe(3);
    expect(run('b', committed(104, 170))).toBe(4);
    expect(run('c', committed(171.5, 180))).toBe(1.5);
    expect(of('c')).toMatchObject({ handoverMs: 1.5, wholeAfterMs: 80 });
  });

  it('is what the agent heard where an input was not made here', () => {
    expect(run('a', committed(103, 150), 7)).toBe(7);
    expect(of('a')?.wholeAfterMs).toBeUndefined();
  });

  it('is what the agent heard where the stage began before its inputs were whole, or tells nothing', () => {
    report.loaded(load, 100);
    expect(run('a', committed(90, 150), 7)).toBe(7);
    const { calledAtMs: _, ...silent } = committed(0, 150);
    expect(run('b', silent, 8)).toBe(8);
  });

  it('is that of the first run; a run that failed made nothing whole', () => {
    report.loaded(load, 100);
    run('a', { ...committed(103, 120), outcome: 'failed' });
    expect(of('a')?.wholeAfterMs).toBeUndefined();
    run('a', committed(130, 150));
    expect(of('a')).toMatchObject({ runs: 2, handoverMs: 3, wholeAfterMs: 50 });
  });
});
