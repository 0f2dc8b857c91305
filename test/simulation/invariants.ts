/** What must hold of a line's state after every step. */
import { inputStream } from '../../runtime/contracts/block.js';
import type { LineState, StageDemand } from '../../runtime/line/types.js';

export function assertHeart(state: LineState): void {
  const running = new Map<string, number>();
  let cpuRuns = 0;
  for (const [index, slot] of state.slots.entries()) {
    if (slot.phase !== 'running') continue;
    if (state.graph.stages.get(slot.stage)?.bound === 'cpu') cpuRuns += 1;
    if (slot.cancelled) continue;
    const key = `${slot.shardId}/${slot.stage}`;
    ensure(!running.has(key), `two runs of ${key}`);
    running.set(key, index);
    const at = state.residents.get(slot.shardId)?.stages.get(slot.stage);
    ensure(
      at?.phase === 'running' && at.runId === slot.runId && at.slot === index,
      `slot ${String(index)} runs ${key}, its shard says ${at?.phase ?? 'nothing'}`,
    );
  }
  ensure(
    !state.slots.every((slot) => slot.phase === 'running' && !slot.cancelled && isStalled(state, slot.shardId, slot.stage)),
    'every slot waits for a stage that has no slot',
  );
  ensure(cpuRuns <= state.config.cores, `${String(cpuRuns)} cpu-bound runs on ${String(state.config.cores)} cores`);
  ensure(state.residents.size <= state.config.residentsMax, `${String(state.residents.size)} residents`);
  assertResidents(state, running);
  for (const [index, { stage, shardId }] of state.prepared) {
    ensure(state.slots[index]?.phase === 'idle', `slot ${String(index)} has a prepared run and is ${state.slots[index]?.phase}`);
    const resident = state.residents.get(shardId);
    const isWaiting = resident?.stages.get(stage)?.phase === 'waiting' && missingOf(state, shardId, stage).length > 0;
    ensure(isWaiting || resident?.phase === 'loading', `${shardId}/${stage} is prepared and lacks nothing`);
  }
}

/** It follows a stage that does not run, or that itself does. */
const isStalled = (state: LineState, shardId: string, stage: string): boolean =>
  missingOf(state, shardId, stage).some(
    (stream) => state.residents.get(shardId)?.stages.get(stream)?.phase !== 'running' || isStalled(state, shardId, stream),
  );

const missingOf = (state: LineState, shardId: string, stage: string): string[] =>
  (state.graph.stages.get(stage)?.after ?? []).filter(
    (stream) => stream !== inputStream && state.residents.get(shardId)?.stages.get(stream)?.phase !== 'done',
  );

function assertResidents(state: LineState, running: ReadonlyMap<string, number>): void {
  const demand = new Map<string, StageDemand>(state.graph.order.map((stage) => [stage, { waiting: 0, ready: 0, running: 0 }]));
  let usedBytes = 0;
  let loaded = 0;
  for (const [shardId, resident] of state.residents) {
    if (resident.phase !== 'queued') {
      usedBytes += resident.needBytes;
      loaded += 1;
    }
    if (resident.phase !== 'stages') continue;
    let undone = 0;
    for (const [stage, at] of resident.stages) {
      if (at.phase === 'done') continue;
      undone += 1;
      const count = demand.get(stage);
      ensure(count !== undefined, `${shardId} needs ${stage}, which is not in the graph`);
      count[at.phase] += 1;
      const missing = missingOf(state, shardId, stage);
      ensure(
        at.phase === 'running' || (missing.length === 0) === (at.phase === 'ready'),
        `${shardId}/${stage} is ${at.phase} and lacks ${missing.join(', ') || 'nothing'}`,
      );
      if (at.phase === 'running') {
        const slot = state.slots[at.slot];
        const isLimited = slot?.phase === 'running' && slot.deadlineMs !== undefined;
        const timeoutMs = state.graph.stages.get(stage)?.timeoutMs;
        ensure(
          isLimited === (timeoutMs !== undefined && missing.length === 0),
          `${shardId}/${stage} runs ${isLimited ? 'against' : 'without'} time and lacks ${missing.join(', ') || 'nothing'}`,
        );
      }
      if (at.phase === 'running') ensure(running.get(`${shardId}/${stage}`) === at.slot, `${shardId}/${stage} runs nowhere`);
    }
    ensure(undone > 0, `${shardId} has nothing to run and is not delivered`);
  }
  ensure(
    loaded <= 1 || usedBytes <= state.config.scratchBytesMax,
    `${String(usedBytes)} bytes of ${String(state.config.scratchBytesMax)}`,
  );
  for (const [stage, count] of demand)
    ensure(JSON.stringify(count) === JSON.stringify(state.demand.get(stage)), `the demand for ${stage} is miscounted`);
}

export function ensure(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Error(`invariant: ${otherwise}`);
}
