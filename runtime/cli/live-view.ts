/**
 * The live view of a run on a terminal: a few lines that are drawn again in place.
 *
 * Drawing (`renderSnapshot`) is a pure function of what is seen; the class only moves the cursor.
 */
import { formatBytes, formatCount, formatDuration } from '../config/units.js';
import { endedOf, totalOf, type LineSnapshot, type RunSnapshot } from './snapshot.js';

const linesShownMax = 8;
const shardsShownMax = 3;
const stagesShownMax = 12;

type Paint = (code: string, text: string) => string;
const colours = { bold: '1', dim: '2', red: '31', green: '32', yellow: '33' } as const;

export function renderSnapshot(snapshot: RunSnapshot, columns: number, colour: boolean): string[] {
  const paint: Paint = (code, text) => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);
  const { counts } = snapshot;
  const total = totalOf(counts);
  const head = [
    `${paint(colours.bold, snapshot.pipeline)}  ${bar(endedOf(counts) / Math.max(1, total), 20)}  ${formatCount(counts.completed)} of ${formatCount(total)} ${total === 1 ? 'shard' : 'shards'}`,
    ...(counts.failed > 0 ? [paint(colours.red, `${formatCount(counts.failed)} failed`)] : []),
    formatDuration(snapshot.elapsedMs),
    ...(snapshot.leftMs === undefined ? [] : [`about ${formatDuration(snapshot.leftMs)} left`]),
  ];
  const body = snapshot.lines.slice(0, linesShownMax).flatMap((line) => renderLine(line, snapshot.stages, paint));
  const more =
    snapshot.lines.length > linesShownMax ? [`  … and ${String(snapshot.lines.length - linesShownMax)} more lines`] : [];
  const starting = snapshot.lines.length === 0 ? [paint(colours.dim, '  the lines are starting')] : [];
  const waiting = snapshot.waiting === undefined || starting.length > 0 ? [] : [paint(colours.yellow, `  ${snapshot.waiting}`)];
  return [head.join(' · '), ...starting, ...body, ...more, ...renderMoved(snapshot), ...waiting].map((text) =>
    clip(text, columns),
  );
}

/** What moved through which medium; those that nothing went through are left out. */
function renderMoved({ moved }: RunSnapshot): string[] {
  const media = (Object.keys(moved) as (keyof typeof moved)[]).filter((medium) => moved[medium].read + moved[medium].written > 0);
  if (media.length === 0) return [];
  const parts = media.map(
    (medium) => `${medium} ${formatBytes(moved[medium].read)} read, ${formatBytes(moved[medium].written)} written`,
  );
  return [`  moved  ${parts.join(' · ')}`];
}

function renderLine(line: LineSnapshot, stages: readonly string[], paint: Paint): string[] {
  const slots = line.slots.map((slot) => {
    const stage = slot.stage ?? 'empty';
    if (slot.phase === 'running') return paint(colours.green, `[${stage} ▶]`);
    if (slot.phase === 'swapping') return paint(colours.yellow, `[${stage} …]`);
    if (slot.phase === 'lost') return paint(colours.red, `[${stage} lost]`);
    return paint(colours.dim, `[${stage}]`);
  });
  const { usedBytes, sizeBytesMax, spilledBytes } = line.scratch;
  const used = sizeBytesMax > 0 ? `  memory ${formatBytes(usedBytes)} of ${formatBytes(sizeBytesMax)}` : '';
  const spilled = spilledBytes > 0 ? `, ${formatBytes(spilledBytes)} on SSD` : '';
  const waiting = line.waiting === undefined ? '' : `  (${line.waiting})`;
  const shards = line.shards.slice(0, shardsShownMax).map((shard) => renderShard(shard, stages, paint));
  const more = line.shards.length - shardsShownMax;
  return [
    `  ${line.line}  ${slots.join(' ')}${used}${spilled}${waiting}`,
    ...shards,
    ...(more > 0 ? [`    … and ${String(more)} more`] : []),
  ];
}

function renderShard(shard: LineSnapshot['shards'][number], stages: readonly string[], paint: Paint): string {
  const done = new Set(shard.stagesDone);
  const running = new Map(shard.running.map((run) => [run.stage, run]));
  const nameOf = (stage: string): string => {
    const run = running.get(stage);
    if (run === undefined) return done.has(stage) ? `${stage}${paint(colours.green, '✓')}` : paint(colours.dim, stage);
    const share = run.blocksTotal > 0 ? ` ${String(Math.floor((100 * run.blocks) / run.blocksTotal))}%` : '';
    return paint(colours.green, `${stage}${share}`);
  };
  const phase = shard.phase === 'stages' ? '' : paint(colours.yellow, `  ${shard.phase}`);
  // Of a long graph, how far it is and what runs.
  const track =
    stages.length <= stagesShownMax
      ? stages.map(nameOf)
      : [`${String(done.size)} of ${String(stages.length)} stages`, ...[...running.keys()].map(nameOf)];
  return `    ${shard.shardId}${phase}  ${track.join('  ')}`;
}

function bar(share: number, width: number): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width);
  return `${'█'.repeat(full)}${'░'.repeat(width - full)}`;
}

/** Cuts to the width of the terminal; colour codes take no room. */
function clip(text: string, columns: number): string {
  let seen = 0;
  let at = 0;
  while (at < text.length) {
    const code = /^\u001b\[[0-9;]*m/.exec(text.slice(at));
    if (code !== null) {
      at += code[0].length;
      continue;
    }
    if (seen === columns - 1) return `${text.slice(0, at)}…\u001b[0m`;
    seen += 1;
    at += 1;
  }
  return text;
}

/** The first lines, where there is no room for all. */
const fit = (lines: string[], rows: number): string[] =>
  lines.length <= rows ? lines : [...lines.slice(0, Math.max(0, rows - 1)), '  …'];

export class LiveView {
  #drawn = 0;

  constructor(private readonly out: NodeJS.WriteStream) {}

  /** Never more lines than the terminal has: what has scrolled away cannot be drawn again. */
  draw(snapshot: RunSnapshot): void {
    const { columns, rows } = this.out;
    const lines = fit(renderSnapshot(snapshot, columns, this.out.hasColors()), rows - 1);
    this.#clear();
    this.out.write(`${lines.join('\n')}\n`);
    this.#drawn = lines.length;
  }

  close(): void {
    this.#clear();
  }

  #clear(): void {
    if (this.#drawn > 0) this.out.write(`\u001b[${String(this.#drawn)}A\u001b[0J`);
    this.#drawn = 0;
  }
}
