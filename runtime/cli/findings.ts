/** What is wrong, or may become so, with a machine and with what a coordinator has: pure, from facts that somebody gathered. */
import { formatBytes } from '../config/units.js';
import type { LineView, PipelineView } from '../contracts/views.js';

/** `warning`: it works, and may not go on doing so. `fault`: it does not work. */
export type Level = 'ok' | 'note' | 'warning' | 'fault';

export interface Finding {
  level: Level;
  /** What it is about: of a machine, or `pipeline NAME`, `group NAME of NAME`, `line NAME`. */
  about: string;
  is: string;
  advice?: string | undefined;
}

export const counted = (count: number, one: string): string => `${String(count)} ${one}${count === 1 ? '' : 's'}`;

export interface MachineFacts {
  node: { version: string; least: string };
  cores: number;
  memoryBytes: number;
  /** Absent where the machine lends none. */
  sharedMemory: { dir: string; sizeBytes: number; freeBytes: number } | undefined;
  /** Why the native part is not there; absent where it is. */
  whyNotNative: string | undefined;
}

/** A container has 64 MiB of shared memory unless somebody asks for more: hardly a shard fits. */
const sharedBytesMin = 256 * 1024 * 1024;

export function machineFindings({ node, cores, memoryBytes, sharedMemory, whyNotNative }: MachineFacts): Finding[] {
  const isNew = node.version.localeCompare(node.least, 'en', { numeric: true }) >= 0;
  return [
    {
      level: isNew ? 'ok' : 'fault',
      about: 'node',
      is: `${node.version}, of at least ${node.least}`,
      ...(isNew ? {} : { advice: 'Install a newer Node.' }),
    },
    { level: 'ok', about: 'machine', is: `${String(cores)} processors, ${formatBytes(memoryBytes)} of memory` },
    memoryFinding(sharedMemory),
    whyNotNative === undefined
      ? { level: 'ok', about: 'native part', is: 'loaded: blocks are read in place' }
      : {
          level: 'note',
          about: 'native part',
          is: `not there: ${whyNotNative}. Blocks are copied when they are read`,
        },
  ];
}

function memoryFinding(memory: MachineFacts['sharedMemory']): Finding {
  const about = 'shared memory';
  if (memory === undefined)
    return {
      level: 'warning',
      about,
      is: 'none: shards lie in a folder, and are slower there than in memory',
      advice: 'Mount a tmpfs at /dev/shm, which this user may write to.',
    };
  const is = `${memory.dir}, ${formatBytes(memory.freeBytes)} of ${formatBytes(memory.sizeBytes)} are free`;
  if (memory.freeBytes >= sharedBytesMin) return { level: 'ok', about, is };
  return {
    level: 'warning',
    about,
    is: `${is}: large shards go over to the SSD`,
    advice: 'Give it more, as by --shm-size of a container, or by what df shows there.',
  };
}

/** Of all pipelines of a coordinator and all its lines. `isOneMachine`: lines are processes beside it, and cannot be elsewhere. */
export function coordinatorFindings(
  pipelines: readonly PipelineView[],
  lines: readonly LineView[],
  isOneMachine: boolean,
): Finding[] {
  return pipelines.flatMap((pipeline) => {
    const mine = lines.filter((line) => line.pipeline === pipeline.name);
    const found = [
      ...flowFindings(pipeline, mine.length),
      ...mine.filter(({ state }) => state === 'silent').map(silentFinding),
      ...(isOneMachine ? [] : spreadFindings(pipeline.name, mine)),
    ];
    const { counts } = pipeline;
    const inWords = `${counted(counts.pending, 'shard')} to do, ${String(counts.running)} in work`;
    return found.some(({ level }) => level !== 'ok')
      ? found
      : [{ level: 'ok', about: `pipeline ${pipeline.name}`, is: inWords }, ...found];
  });
}

function flowFindings({ name, paused, counts, flow, pace }: PipelineView, lines: number): Finding[] {
  const about = `pipeline ${name}`;
  const found: Finding[] = [];
  if (paused) found.push({ level: 'note', about, is: 'paused: its lines take no new shards' });
  if (counts.failed > 0)
    found.push({
      level: 'warning',
      about,
      is: `failed for good: ${counted(counts.failed, 'shard')}`,
      advice: 'Their errors say why; once that is mended, `retry` puts them back into the queue.',
    });
  if (flow?.linesMax === 0) found.push({ level: 'warning', about, is: `no line fits into its quota: ${flow.because}` });
  else if (lines === 0 && counts.pending > 0 && !paused)
    found.push({ level: 'warning', about, is: `${counted(counts.pending, 'shard')} to do, and no line` });
  if (pace?.pause === 'full') found.push({ level: 'warning', about, is: `takes no more shards: ${pace.why}` });
  return found;
}

const silentFinding = ({ line, node, silentMs }: LineView): Finding => ({
  level: 'warning',
  about: `line ${line}`,
  is: `on node ${node}, has not been heard for ${String(Math.round(silentMs / 1_000))} s: its shards go to other lines`,
});

/** A group that is on one machine waits while that one is away. */
function spreadFindings(pipeline: string, lines: readonly LineView[]): Finding[] {
  const heard = lines.filter(({ state }) => state !== 'silent');
  return [...new Set(heard.map(({ group }) => group))].map((group) => {
    const members = heard.filter((line) => line.group === group);
    const nodes = [...new Set(members.map(({ node }) => node))].sort();
    const about = `group ${group} of ${pipeline}`;
    if (nodes.length > 1)
      return { level: 'ok', about, is: `${counted(members.length, 'line')} on ${counted(nodes.length, 'node')}` };
    const what = members.length === 1 ? 'its only line is' : `its ${String(members.length)} lines are all`;
    return {
      level: 'warning',
      about,
      is: `${what} on node ${nodes[0] ?? ''}: while that one is away, nothing of the group is worked on`,
      advice: 'Let it have at least two lines (spec.scaling.minLines), and nodes for them: they spread where they can.',
    };
  });
}
