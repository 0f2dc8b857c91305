/** The journal's figures, each in turns with what it is held against, on the disk of the run. */
import { closeSync, fdatasyncSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { logHeaderBytes, readLog } from '../../runtime/journal/lmdb/log.js';
import { openLmdbJournal } from '../../runtime/journal/lmdb/lmdb-journal.js';
import type { Journal } from '../../runtime/journal/journal.js';
import { jsonOf } from '../child-json.js';
import type { BenchOptions, Place } from '../options.js';
import { Missing } from '../runners/runner.js';
import { quantile } from '../statistics.js';
import { clients, podlineChained, podlineCycles, startBullMq, type BullMq } from './cycles.js';
import type { JournalFigures } from './figures.js';
import { serve } from './over-http.js';
import { begin, cpuUs, fill, now, query } from './work.js';

const growthSizes = [1_000, 10_000, 100_000, 1_000_000];
const leasesMeasured = 500;

type NewFigures = Required<Pick<JournalFigures, 'chained' | 'http' | 'ndjson'>>;
type OverHttpFigures = Pick<NewFigures, 'http' | 'ndjson'>;

export async function measureJournal(place: Place, options: BenchOptions): Promise<JournalFigures> {
  const dir = join(place.diskDir, 'journal');
  const journal = openLmdbJournal({ dir });
  let bullmq: BullMq | undefined;
  let bullmqMissing: string | undefined;
  const figures: Omit<JournalFigures, 'large'> & NewFigures = {
    clients,
    podline: [],
    bullmq: [],
    chained: { podline: [], bullmq: [] },
    single: { claimMs: [], appendMs: [], bytes: 0 },
    submit: { shards: Math.ceil(100_000 * options.scale), perSecond: [], cpuUsEach: [] },
    http: { lines: clients, full: [], half: [] },
    ndjson: [],
    growth: [],
  };
  try {
    bullmq = await startBullMq().catch((thrown: unknown) => {
      if (!(thrown instanceof Missing)) throw thrown;
      bullmqMissing = thrown.message;
      return undefined;
    });
    await begin(journal);
    const cycles = Math.ceil(20_000 * options.scale);
    let shards = 0;
    const add = async (count: number): Promise<void> => {
      await fill(journal, shards, count);
      shards += count;
    };
    for (let round = 0; round < options.repeats; round += 1) {
      options.signal.throwIfAborted();
      await add(cycles);
      figures.podline.push(await podlineCycles(journal));
      if (bullmq !== undefined) figures.bullmq.push(await bullmq.round(Math.ceil(cycles / 4), 'apart'));
      await add(cycles);
      figures.chained.podline.push(await podlineChained(journal));
      if (bullmq !== undefined) figures.chained.bullmq.push(await bullmq.round(Math.ceil(cycles / 4), 'chained'));
      await add(leasesMeasured);
      figures.single.claimMs.push(quantile(await oneByOne(journal), 0.5));
      figures.single.bytes = claimBytes(dir);
      figures.single.appendMs.push(appendMs(join(dir, 'append.log'), figures.single.bytes));
      const [beganMs, beganUs] = [performance.now(), cpuUs()];
      await add(figures.submit.shards);
      figures.submit.perSecond.push((figures.submit.shards * 1_000) / (performance.now() - beganMs));
      figures.submit.cpuUsEach.push((cpuUs() - beganUs) / figures.submit.shards);
      // Those that wait would be in the way of the next round.
      await podlineCycles(journal);
    }
    await measureHttp(join(place.diskDir, 'journal-http'), figures, options);
    const large = await measureLarge(join(place.diskDir, 'journal-large'), figures, options);
    return { ...figures, large, ...(bullmqMissing === undefined ? {} : { bullmqMissing }) };
  } finally {
    await bullmq?.close();
    await journal.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Rounds of submission and of cycles, against a server with a journal of its own. */
async function measureHttp(
  dir: string,
  { http, ndjson }: OverHttpFigures,
  { repeats, scale, signal }: BenchOptions,
): Promise<void> {
  const journal = openLmdbJournal({ dir });
  const over = await serve(journal, signal);
  const [shards, cycles] = [Math.ceil(200_000 * scale), Math.ceil(20_000 * scale)];
  try {
    for (let round = 0; round < repeats; round += 1) {
      signal.throwIfAborted();
      ndjson.push(await over.submit(shards, round * shards));
      const full = await over.cycles(http.lines, cycles, 0);
      http.full.push(full);
      http.half.push(await over.cycles(http.lines, cycles, full.cyclesPerSecond / 2));
    }
  } finally {
    await over.close();
    await journal.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function oneByOne(journal: Journal): Promise<number[]> {
  const tookMs: number[] = [];
  for (let count = 0; count < leasesMeasured; count += 1) {
    const beganMs = performance.now();
    await journal.lease(query('line-0'), now());
    tookMs.push(performance.now() - beganMs);
  }
  return tookMs;
}

/** What one claim has written into the log of the journal, header included: of the claims that were its last records. */
function claimBytes(dir: string): number {
  const files = readdirSync(dir).filter((name) => name.startsWith('log-'));
  const records = files.flatMap((name) => [...readLog(join(dir, name))]).sort((a, b) => a.commit - b.commit);
  const last = records.slice(-leasesMeasured);
  if (last.length === 0) throw new Error(`${dir} has no log of the claims that were measured`);
  return Math.round(last.reduce((sum, { payload }) => sum + logHeaderBytes + payload.length, 0) / last.length);
}

/** The same bytes at the end of a file, each time synced. */
function appendMs(file: string, recordBytes: number): number {
  const record = Buffer.alloc(recordBytes, 65);
  const handle = openSync(file, 'w');
  const tookMs: number[] = [];
  for (let count = 0; count < leasesMeasured; count += 1) {
    const beganMs = performance.now();
    writeSync(handle, record);
    fdatasyncSync(handle);
    tookMs.push(performance.now() - beganMs);
  }
  closeSync(handle);
  rmSync(file);
  return quantile(tookMs, 0.5);
}

/** Grows a queue, and looks what a lease costs at each size; then opens it anew elsewhere. */
async function measureLarge(
  dir: string,
  { growth }: Pick<JournalFigures, 'growth'>,
  { scale, signal }: BenchOptions,
): Promise<JournalFigures['large']> {
  const journal = openLmdbJournal({ dir });
  let waiting = 0;
  try {
    await begin(journal);
    for (const size of growthSizes.map((full) => Math.ceil(full * scale))) {
      signal.throwIfAborted();
      const wanted = size + leasesMeasured;
      await fill(journal, waiting, wanted - waiting, 5_000);
      waiting = wanted;
      // What another thread has still to do for what was submitted is not the lease's: this waits for it.
      await journal.running();
      const beganUs = cpuUs();
      await oneByOne(journal);
      growth.push({ waiting: size, leaseCpuUs: (cpuUs() - beganUs) / leasesMeasured });
    }
    await journal.close();
    return {
      shards: waiting,
      ...(await jsonOf<Omit<JournalFigures['large'], 'shards'>>('benchmarks/journal/reopen-entry', [dir], signal)),
    };
  } finally {
    await journal.close();
    rmSync(dir, { recursive: true, force: true });
  }
}
