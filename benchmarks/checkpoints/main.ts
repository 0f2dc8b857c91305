/**
 * What checkpoints cost: writing beside a plain write, restoring beside a plain read, and what the stages notice of it.
 *
 * `measureCheckpoints` gives the figures; run alone (`node dist/benchmarks/checkpoints/main.js [MiB] [repeats]`) this prints them.
 * Both sides of a comparison are measured in turns, in an order that is drawn anew for each repeat.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, existsSync, fsyncSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { argv } from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { alignedMemory, openDirect } from '../../runtime/checkpoints/direct.js';
import { entryPath } from '../../runtime/platform/entries.js';
import { randomOf, shuffled, spreadOf, type Spread } from '../statistics.js';
import { BenchedShard, type Places } from './shard.js';

export interface CheckpointBenchOptions {
  /** A folder on the disk that is to be measured. */
  diskDir: string;
  bytes?: number;
  repeats?: number;
  seed?: number;
  say?: (line: string) => void;
}

/** Times in ms, of all repeats. */
export interface CheckpointFigures {
  bytes: number;
  repeats: number;
  /** Of the machine (1 minute), before and after. */
  loadAverage: [number, number];
  write: { plain: Spread; checkpoint: Spread; plainCpu: Spread; checkpointCpu: Spread; shareOfPlain: number };
  /** A checkpoint in which one block in eleven is new. */
  small: { bytes: number; checkpoint: Spread; shareOfWhole: number };
  restore: { directRead: Spread; restore: Spread; shareOfDirect: number };
  /** As many busy processes as there are processors, without and with checkpoints written one after another all the while. */
  stages: { processes: number; alone: Spread; beside: Spread; slowdown: number; slowdownOfPairs: Spread; writtenBytes: number };
}

const pieceBytes = 1024 * 1024;
const smallShare = 1 / 11;
/** Busy work is measured more often than the rest, because a few hundredths are to be seen. */
const pairsPerRepeat = 3;

export async function measureCheckpoints(options: CheckpointBenchOptions): Promise<CheckpointFigures> {
  const { diskDir, bytes = 256 * 1024 * 1024, repeats = 7, seed = 1, say = () => undefined } = options;
  const before = loadavg()[0] ?? Number.NaN;
  const memoryDir = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'podline-bench-checkpoints-'));
  const places: Places = { memoryDir, diskDir, bytes };
  const random = randomOf(seed);
  try {
    say(`checkpoints of ${String(bytes / 2 ** 20)} MiB: writing`);
    const write = await measureWrites(places, repeats, random);
    say('checkpoints: small changes');
    const small = await measureSmall(places, repeats);
    say('checkpoints: restoring');
    const restore = await measureRestores(places, repeats, random);
    say('checkpoints: beside busy stages');
    const stages = await measureStages(places, repeats, random);
    return {
      bytes,
      repeats,
      loadAverage: [before, loadavg()[0] ?? Number.NaN],
      write,
      small: { ...small, shareOfWhole: small.checkpoint.median / write.checkpoint.median },
      restore,
      stages,
    };
  } finally {
    await rm(memoryDir, { recursive: true, force: true });
  }
}

interface Cost {
  ms: number;
  cpuMs: number;
}

async function cost(work: () => unknown): Promise<Cost> {
  const cpu = process.cpuUsage();
  const beganMs = performance.now();
  await work();
  const ms = performance.now() - beganMs;
  const { user, system } = process.cpuUsage(cpu);
  return { ms, cpuMs: (user + system) / 1000 };
}

/** Each side once for every repeat, in an order that is drawn; and once before, unmeasured. */
async function inTurns<K extends string>(
  sides: Record<K, () => Promise<Cost>>,
  repeats: number,
  random: () => number,
): Promise<Record<K, Cost[]>> {
  const names = Object.keys(sides) as K[];
  const costs = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<K, Cost[]>;
  for (const name of names) await sides[name]();
  for (let repeat = 0; repeat < repeats; repeat += 1)
    for (const name of shuffled(names, random)) costs[name].push(await sides[name]());
  return costs;
}

const wall = (costs: readonly Cost[]): Spread => spreadOf(costs.map(({ ms }) => ms));
const cpu = (costs: readonly Cost[]): Spread => spreadOf(costs.map(({ cpuMs }) => cpuMs));

async function measureWrites(places: Places, repeats: number, random: () => number): Promise<CheckpointFigures['write']> {
  const shard = await BenchedShard.make(places);
  const content = Buffer.alloc(places.bytes, 7);
  try {
    const { plain, checkpoint } = await inTurns(
      {
        plain: async () => {
          const path = join(places.diskDir, `plain-${String(process.pid)}`);
          try {
            return await cost(() => {
              writePlainly(path, content);
            });
          } finally {
            rmSync(path, { force: true });
          }
        },
        checkpoint: async () => {
          const took = await cost(() => shard.write());
          await shard.forget();
          return took;
        },
      },
      repeats,
      random,
    );
    return {
      plain: wall(plain),
      checkpoint: wall(checkpoint),
      plainCpu: cpu(plain),
      checkpointCpu: cpu(checkpoint),
      shareOfPlain: wall(plain).median / wall(checkpoint).median,
    };
  } finally {
    await shard.close();
  }
}

function writePlainly(path: string, content: Buffer): void {
  const file = openSync(path, 'w');
  try {
    for (let at = 0; at < content.length; at += pieceBytes)
      writeSync(file, content, at, Math.min(pieceBytes, content.length - at), at);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

async function measureSmall(places: Places, repeats: number): Promise<{ bytes: number; checkpoint: Spread }> {
  const costs: Cost[] = [];
  let bytes = 0;
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    const shard = await BenchedShard.make({ ...places, bytes: places.bytes * (1 - smallShare) });
    try {
      await shard.write();
      await shard.grow(Math.ceil((places.bytes * smallShare) / 4) * 4);
      costs.push(
        await cost(async () => {
          bytes = (await shard.write()).writtenBytes;
        }),
      );
    } finally {
      await shard.close();
    }
  }
  return { bytes, checkpoint: wall(costs) };
}

async function measureRestores(places: Places, repeats: number, random: () => number): Promise<CheckpointFigures['restore']> {
  const shard = await BenchedShard.make(places);
  try {
    await shard.write();
    const file = shard.onlyCopy();
    const { direct, restore } = await inTurns(
      { direct: () => cost(() => readDirectly(file)), restore: () => shard.restore(cost) },
      repeats,
      random,
    );
    const directRead = wall(direct);
    const restored = wall(restore);
    return { directRead, restore: restored, shareOfDirect: directRead.median / restored.median };
  } finally {
    await shard.close();
  }
}

/** By direct I/O where the file system has it, so that it is the disk that is measured. */
function readDirectly(path: string): void {
  const { memory, aligned, release } = alignedMemory(4 * pieceBytes);
  const file = (aligned ? openDirect(path, constants.O_RDONLY) : undefined) ?? openSync(path, 'r');
  try {
    for (let at = 0, read = -1; read !== 0; at += read) read = readSync(file, memory, 0, memory.length, at);
  } finally {
    closeSync(file);
    release();
  }
}

async function measureStages(places: Places, repeats: number, random: () => number): Promise<CheckpointFigures['stages']> {
  const shard = await BenchedShard.make(places);
  const processes = Array.from({ length: availableParallelism() }, () => fork(entryPath('benchmarks/checkpoints/busy')));
  let writtenBytes = 0;
  try {
    const work = async (): Promise<Cost> => cost(() => Promise.all(processes.map(runOnce)));
    const { alone, beside } = await inTurns(
      {
        alone: work,
        beside: async () => {
          const end = { reached: false };
          const writing = (async () => {
            while (!end.reached) {
              writtenBytes += (await shard.write()).writtenBytes;
              await shard.forget();
            }
          })();
          const took = await work();
          end.reached = true;
          await writing;
          return took;
        },
      },
      repeats * pairsPerRepeat,
      random,
    );
    // Of neighbours in time: what else the machine does changes slower than that.
    const slowdownOfPairs = spreadOf(alone.map(({ ms }, pair) => (beside[pair]?.ms ?? Number.NaN) / ms - 1));
    return {
      processes: processes.length,
      alone: wall(alone),
      beside: wall(beside),
      slowdown: slowdownOfPairs.median,
      slowdownOfPairs,
      writtenBytes,
    };
  } finally {
    for (const child of processes) child.disconnect();
    await shard.close();
  }
}

async function runOnce(child: ChildProcess): Promise<void> {
  const answered = once(child, 'message');
  child.send('work');
  await answered;
}

export function describeCheckpoints(figures: CheckpointFigures): string {
  const { bytes, write, small, restore, stages, loadAverage, repeats } = figures;
  const mib = bytes / 2 ** 20;
  const time = (what: string, { median, min, max }: Spread): string =>
    `${what.padEnd(44)} ${median.toFixed(0).padStart(6)} ms (${min.toFixed(0)} – ${max.toFixed(0)})`;
  const line = (what: string, spread: Spread, of = mib): string =>
    `${time(what, spread)}  ${((of / spread.median) * 1000).toFixed(0)} MiB/s`;
  const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
  return [
    `${String(mib)} MiB, ${String(repeats)} repeats, load average ${loadAverage.map((load) => load.toFixed(1)).join(' → ')}`,
    line('plain buffered write + fsync', write.plain),
    line('checkpoint with checksums', write.checkpoint),
    `  share of the plain write: ${percent(write.shareOfPlain)}; CPU ${write.plainCpu.median.toFixed(0)} → ${write.checkpointCpu.median.toFixed(0)} ms`,
    line('checkpoint, one part in eleven new', small.checkpoint, small.bytes / 2 ** 20),
    `  share of the whole one: ${percent(small.shareOfWhole)}`,
    line('direct read', restore.directRead),
    line('restore with verification', restore.restore),
    `  share of the direct read: ${percent(restore.shareOfDirect)}`,
    time(`${String(stages.processes)} busy processes, alone`, stages.alone),
    time('  the same, beside checkpoints all the while', stages.beside),
    `  slow-down: ${percent(stages.slowdown)} (${percent(stages.slowdownOfPairs.min)} – ${percent(stages.slowdownOfPairs.max)}), ${String(Math.round(stages.writtenBytes / 2 ** 20))} MiB written meanwhile`,
  ].join('\n');
}

if (argv[1] !== undefined && import.meta.url === pathToFileURL(argv[1]).href) {
  const [mib, repeats] = argv.slice(2).map(Number);
  const diskDir = await mkdtemp(join(fileURLToPath(new URL('../../../', import.meta.url)), '.podline-checkpoints-'));
  try {
    const figures = await measureCheckpoints({
      diskDir,
      ...(mib === undefined ? {} : { bytes: mib * 2 ** 20 }),
      ...(repeats === undefined ? {} : { repeats }),
      say: (text) => {
        console.error(text);
      },
    });
    console.log(describeCheckpoints(figures));
  } finally {
    await rm(diskDir, { recursive: true, force: true });
  }
}
