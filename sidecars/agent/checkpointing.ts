/** When something is worth a checkpoint, the agent has it written here, behind the back of the stages. */
import { inputStream } from '../../runtime/contracts/block.js';
import { PodlineError } from '../../runtime/contracts/errors.js';
import {
  checkpointPlaces,
  weighCheckpoints,
  type Cadence,
  type CheckpointPlace,
  type History,
  type PlaceState,
  type StreamToKeep,
} from '../../runtime/line/checkpoint-policy.js';
import { neededStreams } from '../../runtime/line/resume.js';
import type { CheckpointCadence } from '../../runtime/contracts/manifest.js';
import { parseDurationMs } from '../../runtime/config/units.js';
import type { Agent } from './agent.js';
import type { Resident } from './resident.js';

const cadenceOf = (given: CheckpointCadence): Cadence =>
  typeof given === 'object' && 'every' in given ? { everyMs: parseDurationMs(given.every) } : given;

/** Asks the policy and starts what it wants. Returns at once; what fails is told, and the line goes on without it. */
export function checkpointNow(agent: Agent, shardId: string): void {
  const resident = agent.residents.get(shardId);
  if (resident === undefined || resident.completed) return;
  const streams = streamsToKeep(agent, resident);
  const places = Object.fromEntries(checkpointPlaces.map((place) => [place, placeState(agent, resident, place)]));
  for (const { due, ...verdict } of weighCheckpoints(streams, places, agent.options.nowMs(), historyOf(resident))) {
    resident.report.weighed(verdict.place, due, verdict.why);
    if (!due) continue;
    agent.options.logger.debug({ shardId, ...verdict }, 'checkpoint');
    // While it writes, the place decides nothing: it is asked again when the write has settled.
    agent.track(
      write(agent, resident, verdict.place, verdict.streams, verdict.why).then((written) => {
        // After a failure the next occasion is soon enough: a full disk is not asked again and again.
        if (written) checkpointNow(agent, shardId);
        return agent.columns.look(shardId);
      }),
    );
  }
}

const historyOf = ({ pipeline, lease, report }: Resident): History => ({
  makings: new Map([
    [inputStream, { after: [], workMs: report.workMsOf(inputStream) }],
    ...pipeline.stages.map(({ name, after }) => [name, { after, workMs: report.workMsOf(name) }] as const),
  ]),
  losses: lease.epoch - 1,
});

/**
 * What is committed goes to the SSD, whatever the policy waits for, before the shard leaves the line unfinished. `toVolume`: and to the
 * volume, because who goes on may be on another node.
 */
export async function finalCheckpoint(agent: Agent, resident: Resident, why: string, toVolume = false): Promise<void> {
  await agent.columns.settled(resident.lease.shardId);
  await writeRest(agent, resident, 'ssd', why);
  if (toVolume) await writeRest(agent, resident, 'volume', why);
}

async function writeRest(agent: Agent, resident: Resident, at: CheckpointPlace, why: string): Promise<void> {
  const place = placeState(agent, resident, at);
  if (place.cadence === 'never') return;
  const changed = streamsToKeep(agent, resident).filter((stream) => {
    const written = place.written.get(stream.stream);
    return written === undefined || written.blocks < stream.blocks || written.sealed !== stream.sealed;
  });
  if (changed.length > 0) {
    const names = changed.map((stream) => stream.stream);
    await write(agent, resident, at, names, why);
  }
}

/** Streams that a resume would want, as they stand in the scratch. One that was begun and has come nowhere is worth nothing. */
function streamsToKeep(agent: Agent, resident: Resident): StreamToKeep[] {
  const { shardId } = resident.lease;
  const { scratch } = agent.options;
  const begun = scratch
    .streams(shardId)
    .filter(({ stream, sealed, blocks }) => sealed || blocks > 0 || scratch.progress(shardId, stream) !== undefined);
  const held = new Map(begun.map((stream) => [stream.stream, stream]));
  const needed = neededStreams(resident.pipeline.stages, resident.wanted, (stream) => held.get(stream)?.sealed === true);
  return [...held.values()]
    .filter((stream) => needed.has(stream.stream) && stream.lineage.digest === resident.lineages.get(stream.stream)?.digest)
    .map((stream) => ({
      stream: stream.stream,
      sealed: stream.sealed,
      blocks: stream.blocks,
      bytes: stream.bytes,
      workMs: resident.report.workMsOf(stream.stream),
    }));
}

function placeState(agent: Agent, resident: Resident, place: CheckpointPlace): PlaceState {
  const { checkpoints } = resident.pipeline.spec;
  const state = agent.options.checkpoints.state(resident.lease.shardId, place);
  return {
    ...state,
    // Columns that are being given back: what is copied must be what its checksums say.
    busy: state.busy || agent.columns.isUnderWay(resident.lease.shardId),
    lastAtMs: Math.max(state.lastAtMs, resident.takenInAtMs),
    cadence: cadenceOf(place === 'ssd' ? checkpoints.ssd : checkpoints.major),
  };
}

async function write(
  agent: Agent,
  resident: Resident,
  place: CheckpointPlace,
  streams: readonly string[],
  why: string,
): Promise<boolean> {
  const { shardId, epoch } = resident.lease;
  try {
    const written = await agent.options.checkpoints.write({
      place,
      shardId,
      pipeline: resident.pipeline,
      scratch: agent.options.scratch,
      streams,
      results: resident.wanted,
      lineages: resident.lineages,
      epoch,
      retain: resident.pipeline.spec.checkpoints.retain,
      workMs: Object.fromEntries(streams.map((stream) => [stream, resident.report.workMsOf(stream)])),
    });
    resident.report.checkpointed(place, written, why);
    agent.note('checkpoint.written', shardId, {
      place,
      streams: written.streams,
      bytes: written.writtenBytes,
      ms: written.ms,
      why,
    });
    return true;
  } catch (thrown) {
    const error = PodlineError.from(thrown, 'PDL_CHECKPOINT_FULL');
    // A shard that has left the line needs no checkpoint; everything else is told, and the line goes on without it.
    if (!agent.residents.has(shardId)) return false;
    agent.options.logger.warn({ shardId, place, code: error.code, err: error.message }, 'a checkpoint was not written');
    agent.note('checkpoint.failed', shardId, { place, code: error.code, message: error.message, hint: error.hint });
    return false;
  }
}
