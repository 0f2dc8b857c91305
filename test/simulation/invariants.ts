/** What must hold of a line's state after every step. */
import { inputStream } from '../../runtime/contracts/block.js';
import { mayFollow, mayLead } from '../../runtime/line/streaming.js';
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

/** A run that goes on reads the stream. */
export const isRead = ({ slots, graph }: LineState, shardId: string, stream: string): boolean =>
  slots.some(
    (slot) =>
      slot.phase === 'running' &&
      !slot.cancelled &&
      slot.shardId === shardId &&
      graph.stages.get(slot.stage)?.after.includes(stream) === true,
  );

/** A follower begins behind runs that go on, all the way up, and takes no slot that a shard with whole inputs could have. */
export function assertMayFollow(
  { graph, slots, residents }: LineState,
  shardId: string,
  stage: string,
  growing: readonly string[],
  nowMs: number,
): void {
  const follower = graph.stages.get(stage);
  ensure(follower !== undefined && mayFollow(follower), `${stage} cannot follow`);
  const assertIsMade = (stream: string): void => {
    ensure(
      slots.some((at) => at.phase === 'running' && !at.cancelled && at.shardId === shardId && at.stage === stream),
      `${stage} of ${shardId} follows ${stream}, which is not being made`,
    );
    for (const input of graph.stages.get(stream)?.after ?? [])
      if (input !== 'input' && residents.get(shardId)?.stages.get(input)?.phase !== 'done') assertIsMade(input);
  };
  for (const stream of growing) {
    const leader = graph.stages.get(stream);
    ensure(leader !== undefined && mayLead(leader), `${stream} cannot be followed`);
    assertIsMade(stream);
  }
  for (const [id, resident] of residents) {
    const at = resident.phase === 'stages' ? resident.stages.get(stage) : undefined;
    ensure(
      at?.phase !== 'ready' ||
        at.notBeforeMs > nowMs ||
        slots.some((slot) => slot.phase === 'running' && slot.shardId === id && slot.stage === stage),
      `${stage} follows for ${shardId} while ${id} is ready for it`,
    );
  }
}

/** A run is prepared behind what is being made: a load, a run that goes on, or one that is prepared itself. */
export function assertMayPrepare(
  { residents, slots, prepared }: LineState,
  shardId: string,
  stage: string,
  growing: readonly string[],
): void {
  const isMade = (stream: string): boolean =>
    stream === inputStream
      ? residents.get(shardId)?.phase === 'loading'
      : slots.some((at) => at.phase === 'running' && !at.cancelled && at.shardId === shardId && at.stage === stream) ||
        [...prepared.values()].some((at) => at.shardId === shardId && at.stage === stream);
  ensure(growing.length > 0, `${stage} of ${shardId} is prepared and lacks nothing`);
  for (const stream of growing)
    ensure(isMade(stream), `${stage} of ${shardId} is prepared behind ${stream}, which is not being made`);
}

export function ensure(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Error(`invariant: ${otherwise}`);
}
