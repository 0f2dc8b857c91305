/** Workload (e): many shards of 1 KiB, one after another, then together. */
import { performance } from 'node:perf_hooks';
import { addBytes, noBytes } from '../runtime/contracts/block.js';
import { bytesWork } from './comparisons.js';
import { expectedHash } from './expected.js';
import { Field } from './field.js';
import { measure } from './measure.js';
import type { BenchOptions, Place } from './options.js';
import type { SmallResult, SmallSample } from './results.js';
import { podline, podlineSteps } from './runners/podline.js';
import type { JobEnd, Runner } from './runners/runner.js';
import { randomBytes } from './work/generate.js';
import type { Job } from './work/work.js';

const shardBytes = 1024;
const stages = 5;
/** Runners keep waiting work within bounds; so does this. */
const atOnceMax = 64;

export async function runSmall(place: Place, options: BenchOptions): Promise<SmallResult> {
  const work = bytesWork('pass', stages);
  const shards = options.record ? 200 : 50;
  const sources = Array.from({ length: shards }, (_, index) => inline(options.seed + index));
  const expected = await Promise.all(sources.map((source) => expectedHash(work, source)));
  const field = new Field('small', work, place, options);
  const samples: SmallSample[] = [];
  try {
    for (const peer of [podline, podlineSteps, ...options.peers]) await field.enter(peer, sources[0]!, shardBytes);
    for (let round = 0; round < options.repeats; round++) {
      await field.each(async (runner, { name }) => {
        const alone = await oneAfterAnother(field, runner, sources);
        const together = await atOnce(field, runner, sources);
        const hashes = await Promise.all([...alone.ends, ...together.ends].map((end) => field.hashOf(end)));
        const isVoid = hashes.some((hash, index) => hash !== expected[index % shards]);
        samples.push({
          runner: name,
          round,
          shardMs: alone.shardMs,
          cpuMsEach: alone.cpuMs / shards,
          peakMemoryBytes: alone.peakMemoryBytes,
          bytes: alone.ends.map((end) => end.bytes).reduce(addBytes, noBytes()),
          spanMs: alone.ends.flatMap(({ spanMs }) => spanMs ?? []),
          loadMs: alone.ends.flatMap(({ told }) => told?.['loadMs'] ?? []),
          handoverMs:
            name === podlineSteps.name ? alone.ends.flatMap((end) => end.stages.map(({ handoverMs }) => handoverMs)) : [],
          together: { shards, atOnce: together.atOnce, wallMs: together.wallMs },
          isVoid,
        });
        const mean = alone.shardMs.reduce((sum, ms) => sum + ms, 0) / shards;
        options.say(
          `small ${round + 1}: ${name.padEnd(18)} ${mean.toFixed(2)} ms a shard; together ${((shards * 1000) / together.wallMs).toFixed(0)} shards/s`,
        );
      });
    }
    return { shardBytes, stages, runners: field.notes, samples };
  } finally {
    await field.close();
  }
}

function inline(seed: number): Job['source'] {
  const content = Buffer.concat([...randomBytes(shardBytes, seed)]);
  return { inline: { base64: content.toString('base64') }, format: 'bytes' };
}

async function oneAfterAnother(
  field: Field,
  runner: Runner,
  sources: readonly Job['source'][],
): Promise<{ shardMs: number[]; ends: JobEnd[]; cpuMs: number; peakMemoryBytes: number }> {
  // What slept while others were measured wakes.
  for (const source of sources.slice(0, 3)) await field.hashOf(await field.run(runner, field.job(source)));
  const shardMs: number[] = [];
  const ends: JobEnd[] = [];
  const { cpuMs, peakMemoryBytes } = await measure(
    () => runner.pids(),
    runner.memoryDirs,
    async () => {
      for (const source of sources) {
        const job = field.job(source);
        const beganMs = performance.now();
        ends.push(await field.run(runner, job));
        shardMs.push(performance.now() - beganMs);
      }
    },
  );
  return { shardMs, ends, cpuMs, peakMemoryBytes };
}

async function atOnce(
  field: Field,
  runner: Runner,
  sources: readonly Job['source'][],
): Promise<{ ends: JobEnd[]; wallMs: number; atOnce: number }> {
  const width = Math.min(runner.jobsMax ?? 1, atOnceMax);
  const ends: JobEnd[] = [];
  let next = 0;
  const take = async (): Promise<void> => {
    for (let index = next++; index < sources.length; index = next++) {
      const source = sources[index]!;
      ends[index] = await field.run(runner, field.job(source));
    }
  };
  const beganMs = performance.now();
  await Promise.all(Array.from({ length: width }, take));
  return { ends, wallMs: performance.now() - beganMs, atOnce: width };
}
