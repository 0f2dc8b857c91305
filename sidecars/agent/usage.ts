/**
 * What the processes of the line use: cpu time and memory of the agent and the shims, as Linux counts them. Where it does not say, nothing is
 * told. Children of stages count when they have ended and were waited for.
 */
import { readFileSync } from 'node:fs';

export interface LineUsage {
  /** Cores, on average since the last look. */
  cpu: number;
  memoryBytes: number;
}

/** Of `/proc/<pid>/stat`: the same on every Linux that Node runs on. */
const ticksPerSecond = 100;

export class UsageMeter {
  #before = new Map<number, number>();
  #atMs: number | undefined;

  constructor(
    private readonly pids: () => readonly number[],
    private readonly nowMs: () => number,
    private readonly procDir = '/proc',
  ) {}

  /** `sharedBytes`: of the scratch, which no process alone has. Undefined at the first look, and where there is no /proc. */
  look(sharedBytes: number): LineUsage | undefined {
    const nowMs = this.nowMs();
    const ticks = new Map<number, number>();
    let memoryBytes = sharedBytes;
    for (const pid of new Set(this.pids())) {
      const seen = this.#read(pid);
      if (seen === undefined) continue;
      ticks.set(pid, seen.ticks);
      memoryBytes += seen.ownBytes;
    }
    const [before, atMs] = [this.#before, this.#atMs];
    this.#before = ticks;
    this.#atMs = nowMs;
    if (atMs === undefined || nowMs <= atMs || ticks.size === 0) return undefined;
    let spent = 0;
    // A process that was not there before has spent all of it since.
    for (const [pid, count] of ticks) spent += Math.max(0, count - (before.get(pid) ?? 0));
    return { cpu: (spent / ticksPerSecond / (nowMs - atMs)) * 1_000, memoryBytes };
  }

  #read(pid: number): { ticks: number; ownBytes: number } | undefined {
    try {
      // The name, in brackets, may hold anything: what follows its last bracket is numbers.
      const stat = readFileSync(`${this.procDir}/${String(pid)}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const ticks = [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at]), 0);
      const own = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`${this.procDir}/${String(pid)}/status`, 'utf8'));
      return { ticks, ownBytes: Number(own?.[1] ?? 0) * 1_024 };
    } catch {
      return undefined;
    }
  }
}
