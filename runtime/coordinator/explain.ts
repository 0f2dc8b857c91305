/** Why a shard is where it is, in words: a pure function of what the coordinator knows. */
import type { Shard } from '../contracts/shard.js';
import { defaultGroup } from '../line/groups.js';
import type { Explanation, FlowView, LineView } from '../contracts/views.js';

export interface Circumstances {
  paused: boolean;
  /** Lines of the shard's pipeline. */
  lines: readonly LineView[];
  /** Shards of the pipeline that wait, this one among them. */
  waiting: number;
  /** How many lines there may be, where somebody scales them. */
  flow?: FlowView | undefined;
}

export function explain(shard: Shard, { paused, lines: all, waiting, flow }: Circumstances): Explanation {
  const because: string[] = [];
  let advice: string | undefined;
  const lines = all.filter((line) => line.group === shard.group);
  const live = lines.filter((line) => line.state === 'active');
  const ofGroup = shard.group === defaultGroup ? 'its pipeline' : `its group ${shard.group}`;
  switch (shard.state) {
    case 'pending':
      if (paused) {
        because.push(`Pipeline ${shard.pipeline} is paused: nothing of it is leased.`);
        advice = `Resume pipeline ${shard.pipeline}.`;
      }
      if (shard.notBefore !== undefined)
        because.push(`It failed ${times(shard.attempts)} and backs off until ${shard.notBefore}.`);
      if (live.length === 0) {
        because.push(
          lines.length === 0
            ? `There is no line for ${ofGroup}${flow === undefined ? '' : `: W_max is ${String(flow.linesMax)} ${flow.because}`}.`
            : `None of the ${String(lines.length)} lines of ${ofGroup} takes work: ${lines.map((line) => `${line.line} is ${line.state}`).join(', ')}.`,
        );
        advice ??= 'Start a line; the shard waits for it.';
      } else if (because.length === 0) {
        because.push(`It waits for one of ${String(live.length)} lines; ${String(waiting)} shards of its pipeline wait.`);
        const more = whyNoMore(flow, shard.group);
        if (more !== undefined) because.push(more);
        for (const line of live) if (line.waiting !== undefined) because.push(`Line ${line.line}: ${line.waiting}.`);
      }
      if (shard.error !== undefined) because.push(`It failed before with ${shard.error.code}: ${shard.error.message}`);
      if (shard.resumeFrom !== undefined)
        because.push(`Stage ${shard.resumeFrom} and what follows it will be run again, because that was asked for.`);
      break;
    case 'running': {
      const line = lines.find((candidate) => candidate.line === shard.line);
      const held = line?.shards.find((candidate) => candidate.shardId === shard.id);
      because.push(`Line ${shard.line ?? '?'} works on it under epoch ${String(shard.epoch)}.`);
      if (line === undefined)
        because.push('That line has not been heard since the coordinator was started; its lease runs out if it stays silent.');
      else if (line.state === 'silent')
        because.push(`That line has been silent for ${String(Math.round(line.silentMs / 1000))} s; its lease runs out.`);
      for (const run of held?.running ?? [])
        because.push(
          `Stage ${run.stage} is in slot ${String(run.slot)}, at block ${String(run.blocks)} of ${String(run.blocksTotal)}.`,
        );
      if (line?.waiting !== undefined && line.state !== 'silent') because.push(`The line waits: ${line.waiting}.`);
      if (shard.stagesDone.length > 0) because.push(`Done: ${shard.stagesDone.join(', ')}.`);
      for (const checkpoint of held?.checkpoints ?? []) because.push(`Checkpoint on ${checkpoint}.`);
      if (shard.epoch > 1)
        because.push(
          `It was leased ${times(shard.epoch)}, because ${shard.attempts > 0 ? `it failed ${times(shard.attempts)}` : 'lines were lost or gave it back'}.`,
        );
      break;
    }
    case 'completed':
      because.push(`It completed on line ${shard.line ?? '?'}; its result is in ${shard.result?.dir ?? shard.resultDir}.`);
      for (const stage of shard.report?.stages ?? []) because.push(`${stage.stage}: ${stage.outcome}. ${stage.why}`);
      for (const checkpoint of shard.report?.checkpoints.why ?? []) because.push(`Checkpoint on ${checkpoint}.`);
      break;
    case 'failed':
      because.push(
        `It failed ${times(Math.max(1, shard.attempts))}, the last time with ${shard.error?.code ?? 'no reason'}: ${shard.error?.message ?? ''}`,
      );
      if (shard.error?.place !== undefined) because.push(`Where: ${shard.error.place}.`);
      advice = `${shard.error?.hint ?? ''} Then retry it.`.trim();
      break;
    case 'cancelled':
      because.push('It was cancelled.');
      advice = 'Retry it to put it back into the queue.';
      break;
  }
  return { shardId: shard.id, state: shard.state, because, ...(advice === undefined ? {} : { advice }) };
}

/** Undefined where more lines could come, or none are wanted. */
function whyNoMore(flow: FlowView | undefined, name: string): string | undefined {
  const group = flow?.groups.find((one) => one.group === name);
  if (flow === undefined || group === undefined || group.wanted < group.ceiling) return undefined;
  const shared = group.ceiling < flow.linesMax ? `, of which ${String(group.ceiling)} are its fair share` : '';
  return `No further line: W_max is ${String(flow.linesMax)}${shared}, ${flow.because}.`;
}

const times = (count: number): string => (count === 1 ? 'once' : `${String(count)} times`);
