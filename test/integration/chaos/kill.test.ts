/**
 * kill -9 of any process of a run, or of all of them, at random moments; then the run goes on, or is resumed, to its end.
 *
 * PODLINE_KILL_TRIALS says how often, PODLINE_SEED from which seed; a failure names both.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, watch } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoints } from '../../../runtime/checkpoints/checkpoints.js';
import type { RunSummary } from '../../../runtime/cli/summary.js';
import type { PodlineEvent } from '../../../runtime/contracts/events.js';
import type { Shard } from '../../../runtime/contracts/shard.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { openScratch } from '../../../runtime/scratch/scratch.js';
import type { Scratch } from '../../../runtime/scratch/types.js';
import { callsIn, chaosPipeline, chaosShards, type Call } from '../../support/chaos-pipeline.js';
import { Bench, type PodlineProcess, type Role } from '../../support/podline.js';
import { Random } from '../../simulation/random.js';

const trials = Number(process.env['PODLINE_KILL_TRIALS'] ?? 12);
const seed = Number(process.env['PODLINE_SEED'] ?? 1);
const only = process.env['PODLINE_KILL_TRIAL'];

/** What is killed, and what goes with it. */
const victims = ['slot', 'stage', 'agent', 'coordinator', 'all', 'all and tmpfs', 'all, tmpfs and SSD'] as const;
type Victim = (typeof victims)[number];
const killsMax = 3;

/** Streams that are whole somewhere, by shard. */
type Held = Map<string, Set<string>>;

interface Stop {
  victim: Victim;
  /** The journal's last event when everything was dead. */
  eventId: number;
  /** What was left to go on from: where nothing was removed, everything that was sealed. */
  held: Held;
}

/** What was committed at one moment, and how many calls of stages had been told by then, or a little later. */
interface Sighting {
  committed: { line: string; shardId: string; stage: string; blocks: number }[];
  calls: number;
}

interface Baseline {
  hash: string;
  byKey: Map<string, string>;
  calls: number;
  changes: number;
  ms: number;
}

let baseline: Baseline;

const argsOf = (bench: Bench, resume: boolean) => ({
  args: ['--lines', '2', ...(resume ? ['--resume'] : [])],
  env: { PODLINE_TEST_TRACE: join(bench.dir, 'trace') },
});

beforeAll(async () => {
  const bench = chaosPipeline(new Bench());
  try {
    const run = bench.start(argsOf(bench, false));
    const beganMs = performance.now();
    const changes = new Changes(bench);
    await run.ended;
    changes.close();
    const summary = run.json<RunSummary>();
    expect(summary.shards.completed, run.stderr + bench.logs()).toBe(chaosShards);
    baseline = {
      hash: summary.hash,
      byKey: new Map(summary.results.map(({ key, hash }) => [key, hash])),
      calls: callsIn(join(bench.dir, 'trace')).length,
      changes: changes.count,
      ms: performance.now() - beganMs,
    };
  } finally {
    await bench.end();
  }
}, 120_000);

describe(`kill -9 at random moments (PODLINE_SEED=${String(seed)})`, () => {
  for (let trial = 0; trial < trials; trial++) {
    if (only !== undefined && Number(only) !== trial) continue;
    // Neighbouring seeds of the generator are not alike, so that a trial can be run again alone.
    const random = new Random(seed * 1_000 + trial);
    const plan = Array.from({ length: random.int(1, killsMax) }, () => victims[random.int(0, victims.length - 1)] ?? 'all');
    it(`trial ${String(trial)}: ${plan.join(', then ')}`, () => survives(random, plan), 120_000);
  }
});

const benches: Bench[] = [];
afterEach(async () => {
  for (const bench of benches.splice(0)) await bench.end();
}, 60_000);

async function survives(random: Random, plan: readonly Victim[]): Promise<void> {
  const bench = chaosPipeline(new Bench());
  benches.push(bench);
  const stops: Stop[] = [];
  const sightings: Sighting[] = [];
  let run = bench.start(argsOf(bench, false));
  for (const victim of plan) {
    if (!(await moment(bench, run, random))) break;
    sightings.push(await sight(bench));
    if (victim === 'slot' || victim === 'stage' || victim === 'agent') {
      killOne(bench, victim, random);
      continue;
    }
    if (victim === 'coordinator') run.kill('SIGKILL');
    else for (const { pid } of bench.processes()) end(pid);
    await run.ended;
    // It had told its end already: there is nothing to go on with.
    if (run.stdout !== '') break;
    // A new coordinator may come while the processes of the old one are still about to notice; what is there to go on from is looked at when they have.
    if (victim !== 'coordinator' || random.chance(0.5)) {
      await bench.quiet();
      stops.push(await lookAt(bench, victim));
    }
    run = bench.start(argsOf(bench, true));
  }
  const { code } = await run.ended;
  if (run.stdout === '') expect(code, `${run.stderr}\n${bench.logs()}`).toBe(0);
  await bench.quiet();
  const summary = run.json<RunSummary>();
  const { shards, events } = await bench.journal();
  try {
    expect(summary.hash).toBe(baseline.hash);
    checkResults(bench);
    checkEndings(shards, events);
    checkWork(shards, events, stops);
    checkCalls(callsIn(join(bench.dir, 'trace')), sightings, stops, shards, events);
    // A run that was killed after it had told its end could not clean up any more.
    if (code === 0) expect(existsSync(bench.places.scratchRoot) && readdirSync(bench.places.scratchRoot)).toEqual([]);
  } catch (thrown) {
    console.error(storyOf(events, stops), bench.logs(2_000));
    throw thrown;
  }
}

// ---- when, and what ------------------------------------------------------------------------------

/** Counts what changes on disk: checkpoints, journal, results. */
class Changes {
  count = 0;
  onChange: () => void = () => undefined;
  readonly #watchers;

  constructor(bench: Bench) {
    const { places } = bench;
    this.#watchers = [places.scratchRoot, bench.dir].map((dir) =>
      watch(dir, { recursive: true }, () => {
        this.count += 1;
        this.onChange();
      }).on('error', () => undefined),
    );
  }

  close(): void {
    for (const watcher of this.#watchers) watcher.close();
  }
}

/** A moment somewhere in what a run does: after so many changes on disk, so many calls of stages, or so much time. False when the run ended first. */
async function moment(bench: Bench, run: PodlineProcess, random: Random): Promise<boolean> {
  const kind = random.int(0, 2);
  const share = random.next();
  let timer: NodeJS.Timeout | undefined;
  const changes = new Changes(bench);
  const came = new Promise<boolean>((resolve) => {
    if (kind === 0) {
      changes.onChange = () => {
        if (changes.count >= share * baseline.changes) resolve(true);
      };
    } else if (kind === 1) {
      const trace = join(bench.dir, 'trace');
      const before = callsIn(trace).length;
      changes.onChange = () => {
        if (callsIn(trace).length - before >= share * baseline.calls) resolve(true);
      };
    } else {
      timer = setTimeout(() => resolve(true), share * baseline.ms);
    }
  });
  const inTime = await Promise.race([came, run.ended.then(() => false)]);
  clearTimeout(timer);
  changes.close();
  return inTime && run.isAlive;
}

function killOne(bench: Bench, role: Role, random: Random): void {
  const found = bench.processes().filter((process) => process.role === role);
  const chosen =
    found.length > 0 ? found : bench.processes().filter((process) => process.role === 'slot' || process.role === 'stage');
  const victim = chosen[random.int(0, chosen.length - 1)];
  if (victim !== undefined) end(victim.pid);
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It was sooner.
  }
}

/** The scratches of the lines, as a stage of theirs would open them; those that are about to be made or to go are passed over. */
async function openScratches({ places }: Bench): Promise<{ line: string; scratch: Scratch }[]> {
  mkdirSync(places.scratchRoot, { recursive: true });
  const open: { line: string; scratch: Scratch }[] = [];
  for (const { name: line } of readdirSync(places.scratchRoot, { withFileTypes: true })) {
    const dir = join(places.scratchRoot, line);
    const spillDir = join(places.ssdDir, 'spill', line);
    const options = { dir, spillDir, sizeBytesMax: 2 ** 30, medium: 'memory', role: 'stage' } as const;
    const scratch = await openScratch(options).catch(() => undefined);
    if (scratch !== undefined) open.push({ line, scratch });
  }
  return open;
}

async function sight(bench: Bench): Promise<Sighting> {
  const committed: Sighting['committed'] = [];
  for (const { line, scratch } of await openScratches(bench)) {
    for (const { shardId } of scratch.shards()) {
      for (const { stream: stage } of scratch.streams(shardId)) {
        const blocks = scratch.progress(shardId, stage)?.consumed;
        if (blocks !== undefined) committed.push({ line, shardId, stage, blocks });
      }
    }
    await scratch.close();
  }
  // A block is called for before it is committed: the calls for all of these have been told by now.
  return { committed, calls: callsIn(join(bench.dir, 'trace')).length };
}

/** Everything is dead: removes what goes with the victim, and looks at what is left. */
async function lookAt(bench: Bench, victim: Victim): Promise<Stop> {
  const { places } = bench;
  const { shards, events } = await bench.journal();
  if (victim !== 'all' && victim !== 'coordinator') rmSync(places.scratchRoot, { recursive: true, force: true });
  if (victim === 'all, tmpfs and SSD')
    for (const name of readdirSync(places.ssdDir)) rmSync(join(places.ssdDir, name), { recursive: true, force: true });
  const held: Held = new Map(shards.map(({ id }) => [id, new Set<string>()]));
  const hold = (shardId: string, streams: readonly { stream: string; sealed: boolean }[]): void => {
    for (const { stream, sealed } of streams) if (sealed) held.get(shardId)?.add(stream);
  };
  for (const { line, scratch } of await openScratches(bench)) {
    for (const { shardId } of scratch.shards()) {
      // Only the line that the journal names takes it up from here.
      if (shards.some((shard) => shard.id === shardId && shard.state === 'running' && shard.line === line))
        hold(shardId, scratch.streams(shardId));
    }
    await scratch.close();
  }
  const checkpoints = openCheckpoints({
    ssdDir: places.ssdDir,
    volumeDir: places.volumeDir,
    logger: silentLogger,
    nowMs: () => performance.now(),
  });
  for (const { id } of shards) {
    const inventory = await checkpoints.inventory(bench.name, id);
    hold(id, inventory.ssd.streams);
    hold(id, inventory.volume.streams);
  }
  await checkpoints.close();
  return { victim, eventId: events.at(-1)?.id ?? 0, held };
}

// ---- what must be true afterwards ----------------------------------------------------------------

/** One folder for each shard, whole, as a run has it that nobody disturbed; and nothing beside them. */
function checkResults(bench: Bench): void {
  const folders = readdirSync(bench.resultDir).sort();
  const found = new Map<string, string>();
  for (const folder of folders) {
    const manifest = JSON.parse(readFileSync(join(bench.resultDir, folder, 'manifest.json'), 'utf8')) as {
      key: string;
      hash: string;
      files: { name: string; sha256: string }[];
    };
    for (const file of manifest.files) {
      const content = readFileSync(join(bench.resultDir, folder, file.name));
      expect(createHash('sha256').update(content).digest('hex'), `${folder}/${file.name}`).toBe(file.sha256);
    }
    found.set(manifest.key, manifest.hash);
  }
  expect(found).toEqual(baseline.byKey);
  expect(folders).toHaveLength(baseline.byKey.size);
}

/** No shard lost, none delivered twice. */
function checkEndings(shards: readonly Shard[], events: readonly PodlineEvent[]): void {
  expect(shards.map(({ state }) => state)).toEqual(Array.from({ length: chaosShards }, () => 'completed'));
  const completions = events.filter(({ type }) => type === 'shard.completed').map(({ shardId }) => shardId);
  expect(completions.sort()).toEqual(shards.map(({ id }) => id).sort());
  expect(events.filter(({ type }) => type === 'shard.failed')).toEqual([]);
}

/** What was whole and was not taken away is not made again. */
function checkWork(shards: readonly Shard[], events: readonly PodlineEvent[], stops: readonly Stop[]): void {
  const last = stops.at(-1);
  for (const { id, key, report } of shards) {
    for (const { stage, outcome, why } of report?.stages ?? []) {
      if (last?.held.get(id)?.has(stage) === true && !wasDoneBefore(events, id, last.eventId)) {
        expect(outcome, `${stage} of ${key} was whole when ${last.victim} was killed, and ran again: ${why}`).not.toBe('ran');
      }
    }
  }
  const done = new Map<string, Set<string>>();
  let passed = 0;
  for (const { id, type, shardId = '', data } of events) {
    for (let stop = stops[passed]; stop !== undefined && stop.eventId < id; stop = stops[++passed]) {
      for (const [shard, stages] of done)
        for (const stage of stages) if (stop.held.get(shard)?.has(stage) !== true) stages.delete(stage);
    }
    const stage = String(data['stage']);
    const stages = done.get(shardId) ?? new Set<string>();
    if (type === 'stage.completed') done.set(shardId, stages.add(stage));
    if (type === 'stage.started')
      expect(stages.has(stage), `${stage} of ${shardId} was whole and ran again (event ${String(id)})`).toBe(false);
  }
}

const wasDoneBefore = (events: readonly PodlineEvent[], shardId: string, eventId: number): boolean =>
  events.some((event) => event.type === 'shard.completed' && event.shardId === shardId && event.id <= eventId);

/** A stage goes on behind its last commit: what was committed at any moment is never worked on again, whatever is killed then. */
function checkCalls(
  calls: readonly Call[],
  sightings: readonly Sighting[],
  stops: readonly Stop[],
  shards: readonly Shard[],
  events: readonly PodlineEvent[],
): void {
  // Where the memory was taken away, what was committed in the middle of a stage is made again.
  if (stops.some(({ victim }) => victim !== 'all' && victim !== 'coordinator')) return;
  const keys = new Map(shards.map(({ id, key }) => [id, key]));
  for (const sighting of sightings) {
    for (const { line, shardId, stage, blocks } of sighting.committed) {
      // What an aggregation has committed is its state, now and then; and another line has another memory.
      const isElsewhere = events.some(
        (event) => event.type === 'shard.leased' && event.shardId === shardId && event.line !== line,
      );
      if (stage === 'totals' || isElsewhere) continue;
      const again = calls
        .slice(sighting.calls)
        .filter((call) => call.key === keys.get(shardId) && call.stage === stage && call.block < blocks);
      expect(again, `of ${stage} of ${shardId}, ${String(blocks)} blocks were committed`).toEqual([]);
    }
  }
}

const storyOf = (events: readonly PodlineEvent[], stops: readonly Stop[]): string =>
  [
    ...stops.map(
      ({ victim, eventId, held }) =>
        `${victim} after event ${String(eventId)}: ${[...held].map(([shard, streams]) => `${shard}: ${[...streams].join(' ')}`).join('; ')}`,
    ),
    ...events.map(
      ({ id, type, line = '', shardId = '', data }) =>
        `${String(id)} ${type} ${line} ${shardId} ${JSON.stringify(data).slice(0, 160)}`,
    ),
  ].join('\n');
