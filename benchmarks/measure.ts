/**
 * What a set of processes takes while something runs: wall time, CPU time, memory.
 *
 * From /proc, of the processes named and all their descendants. CPU time of descendants that ended meanwhile is in their
 * parents' account of children, so that processes which come and go (swaps) are counted once. Linux only.
 *
 * Invariants
 *  1. CPU: user + system of all processes alive, and of their children that were waited for; in ticks of 10 ms.
 *  2. Peak RSS: the largest sum of resident sets seen, shared pages counted in each process that maps them.
 *  3. Peak memory: the largest sum of anonymous memory, and of files on tmpfs counted once.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';

export interface Taken {
  wallMs: number;
  cpuMs: number;
  peakRssBytes: number;
  peakMemoryBytes: number;
}

/** USER_HZ, which Linux fixes for what it tells programs. */
const ticksPerSecond = 100;
const sampleEveryMs = 100;
/** Work that a runner leaves behind its end is still its own: so long is waited before the last look at its CPU time. */
const settleMs = 200;

/** Throws what `call` throws. */
export async function measure<T>(
  pids: () => number[],
  memoryDirs: readonly string[],
  call: () => Promise<T>,
): Promise<Taken & { result: T }> {
  const peak = { rss: 0, memory: 0 };
  const look = (): void => {
    const { rssBytes, anonymousBytes } = memoryOf(treeOf(pids()));
    peak.rss = Math.max(peak.rss, rssBytes);
    peak.memory = Math.max(peak.memory, anonymousBytes + memoryDirs.reduce((sum, dir) => sum + bytesUnder(dir), 0));
  };
  const cpuBefore = cpuMsOf(treeOf(pids()));
  look();
  const timer = setInterval(look, sampleEveryMs);
  const beganMs = performance.now();
  try {
    const result = await call();
    const wallMs = performance.now() - beganMs;
    look();
    await delay(settleMs);
    return { result, wallMs, cpuMs: cpuMsOf(treeOf(pids())) - cpuBefore, peakRssBytes: peak.rss, peakMemoryBytes: peak.memory };
  } finally {
    clearInterval(timer);
  }
}

export interface ProcessStat {
  pid: number;
  parent: number;
  /** Own and waited-for children's, user and system. */
  ticks: number;
}

/** A line of /proc/<pid>/stat; the name, which may hold anything, stands in parentheses. */
export function parseStat(text: string): ProcessStat {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const number = (index: number): number => Number(fields[index]);
  return { pid: Number.parseInt(text, 10), parent: number(1), ticks: number(11) + number(12) + number(13) + number(14) };
}

/** The roots and everything below them. */
export function descendants(all: readonly ProcessStat[], roots: readonly number[]): ProcessStat[] {
  const children = new Map<number, ProcessStat[]>();
  for (const stat of all) children.set(stat.parent, [...(children.get(stat.parent) ?? []), stat]);
  const found = all.filter(({ pid }) => roots.includes(pid));
  for (const stat of found) found.push(...(children.get(stat.pid) ?? []).filter(({ pid }) => !roots.includes(pid)));
  return found;
}

function treeOf(roots: readonly number[]): ProcessStat[] {
  const all = readdirSync('/proc').flatMap((name) => {
    const text = /^\d+$/.test(name) ? readIfThere(`/proc/${name}/stat`) : undefined;
    return text === undefined ? [] : [parseStat(text)];
  });
  return descendants(all, roots);
}

const cpuMsOf = (tree: readonly ProcessStat[]): number =>
  (tree.reduce((sum, { ticks }) => sum + ticks, 0) * 1000) / ticksPerSecond;

function memoryOf(tree: readonly ProcessStat[]): { rssBytes: number; anonymousBytes: number } {
  let rssBytes = 0;
  let anonymousBytes = 0;
  for (const { pid } of tree) {
    const status = readIfThere(`/proc/${pid}/status`) ?? '';
    const kib = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0);
    rssBytes += kib('VmRSS') * 1024;
    anonymousBytes += kib('RssAnon') * 1024;
  }
  return { rssBytes, anonymousBytes };
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // It ended in between.
    return undefined;
  }
}

/** As they lie there, in blocks. */
function bytesUnder(dir: string): number {
  try {
    return readdirSync(dir, { withFileTypes: true, recursive: true }).reduce(
      (sum, found) =>
        found.isFile() ? sum + (statSync(join(found.parentPath, found.name), { throwIfNoEntry: false })?.blocks ?? 0) * 512 : sum,
      0,
    );
  } catch {
    return 0;
  }
}
