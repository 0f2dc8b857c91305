/**
 * The live view of a run on a terminal: a few lines that are drawn again in place.
 *
 * Drawing (`renderSnapshot`) is a pure function of what is seen; the class only moves the cursor.
 */
import { formatBytes, formatDuration } from '../config/units.js';
import { endedOf, totalOf, type LineSnapshot, type RunSnapshot } from './snapshot.js';

const linesShownMax = 8;

export function renderSnapshot(snapshot: RunSnapshot, columns: number, colour: boolean): string[] {
  const paint = (code: string, text: string): string => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);
  const { counts } = snapshot;
  const total = totalOf(counts);
  const left = snapshot.leftMs === undefined ? '' : ` · ${formatDuration(snapshot.leftMs)} left`;
  const failed = counts.failed > 0 ? paint('31', ` · ${String(counts.failed)} failed`) : '';
  const head = `${paint('1', snapshot.pipeline)}  ${bar(endedOf(counts) / Math.max(1, total), 20)} ${String(counts.completed)}/${String(total)} shards${failed} · ${formatDuration(snapshot.elapsedMs)}${left}`;
  const body = snapshot.lines.slice(0, linesShownMax).flatMap((line) => renderLine(line, snapshot.stages, paint));
  const more =
    snapshot.lines.length > linesShownMax ? [`  … and ${String(snapshot.lines.length - linesShownMax)} more lines`] : [];
  return [head, ...body, ...more].map((text) => clip(text, columns));
}

function renderLine(line: LineSnapshot, stages: readonly string[], paint: (code: string, text: string) => string): string[] {
  const slots = line.slots.map((slot) => {
    const stage = slot.stage ?? 'empty';
    if (slot.phase === 'running') return paint('32', `[${stage} ▶]`);
    if (slot.phase === 'swapping') return paint('33', `[${stage} …]`);
    if (slot.phase === 'lost') return paint('31', `[${stage} lost]`);
    return paint('2', `[${stage}]`);
  });
  const used = `${formatBytes(line.scratch.usedBytes)} of ${formatBytes(line.scratch.sizeBytesMax)}`;
  const spilled = line.scratch.spilledBytes > 0 ? `, ${formatBytes(line.scratch.spilledBytes)} on SSD` : '';
  const head = `  ${line.line}  ${slots.join(' ')}  scratch ${used}${spilled}${line.waiting === undefined ? '' : `  (${line.waiting})`}`;
  const shards = line.shards.slice(0, 3).map((shard) => {
    const done = new Set(shard.stagesDone);
    const running = new Map(shard.running.map((run) => [run.stage, run]));
    const track = stages.map((stage) => {
      const run = running.get(stage);
      if (run !== undefined) {
        const share = run.blocksTotal > 0 ? ` ${String(Math.floor((100 * run.blocks) / run.blocksTotal))}%` : '';
        return paint('32', `${stage}${share}`);
      }
      return done.has(stage) ? `${stage}${paint('32', '✓')}` : paint('2', stage);
    });
    const phase = shard.phase === 'stages' ? '' : ` (${shard.phase})`;
    return `    ${shard.shardId}${phase}  ${track.join(' → ')}`;
  });
  return [head, ...shards];
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

export class LiveView {
  #drawn = 0;

  constructor(private readonly out: NodeJS.WriteStream) {}

  draw(snapshot: RunSnapshot): void {
    const lines = renderSnapshot(snapshot, this.out.columns, this.out.hasColors());
    this.#clear();
    this.out.write(`${lines.join('\n')}\n`);
    this.#drawn = lines.length;
  }

  /** Something that stays, above the view. */
  say(text: string): void {
    this.#clear();
    this.out.write(`${text}\n`);
  }

  close(): void {
    this.#clear();
  }

  #clear(): void {
    if (this.#drawn > 0) this.out.write(`\u001b[${String(this.#drawn)}A\u001b[0J`);
    this.#drawn = 0;
  }
}
