import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hashOfFolder } from '../../../benchmarks/checker.js';
import { expectedHash } from '../../../benchmarks/expected.js';
import { peers } from '../../../benchmarks/peers/index.js';
import { Missing, type Peer, type Runner } from '../../../benchmarks/runners/runner.js';
import { writeBytes, writeNumbers, writeOrders } from '../../../benchmarks/work/generate.js';
import type { Job, Work, WorkKind } from '../../../benchmarks/work/work.js';
import { largeSource, prepareWorkload } from '../../../benchmarks/workload.js';
import { needs, type Need } from '../../support/require.js';

/** Starting a process for each stage takes its time on a busy machine. */
const timeoutMs = 120_000;

let dir = '';
const sources: Partial<Record<WorkKind, Job['source']>> = {};
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'podline-peers-'));
  const path = (name: string): string => join(dir, name);
  // Three pieces, the last one short; several blocks of records, the last one short.
  writeBytes(path('bytes'), 150_001, 7);
  await writeNumbers(path('numbers'), 2500, 7, 1000);
  writeOrders(path('orders'), 2500, 7);
  sources.bytes = { uri: path('bytes'), format: 'bytes' };
  sources.numbers = { uri: path('numbers'), format: 'arrow' };
  sources.orders = { uri: path('orders'), format: 'ndjson' };
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const chains: Exclude<Work, { kind: 'flights' }>[] = [
  { kind: 'bytes', name: 'xor', stages: 3, stage: 'xor', blockBytes: 65_536 },
  { kind: 'numbers', name: 'numbers', stages: 5, blockRows: 1000 },
  { kind: 'orders', name: 'orders', stages: 5, blockRows: 1000 },
];
const pass: Work = { kind: 'bytes', name: 'pass', stages: 2, stage: 'pass', blockBytes: 65_536 };

const needed: Record<string, Need[]> = {
  redis: ['redis-server'],
  'redis-records': ['redis-server'],
  'redis-columns': ['redis-server'],
  postgres: ['postgres'],
  'arrow-map': ['python3+pyarrow', 'python3+numpy', 'tmpfs'],
};
/** Large packages, which are installed by hand for a recorded run: what `Missing` says is all that is tested of them elsewhere. */
const recordedOnly = new Set(['ray', 'vineyard']);

async function started<T>(peer: Peer, work: Work, use: (runner: Runner) => Promise<T>): Promise<T> {
  const runner = peer.make(work, await mkdtemp(join(dir, `${peer.name}-`)));
  try {
    await runner.start();
    return await use(runner);
  } finally {
    await runner.close();
    await runner.close();
  }
}

let jobs = 0;
const jobOf = (source: Job['source']): Job => ({ id: `job-${jobs++}`, source, resultDir: join(dir, 'results', String(jobs)) });

const named = (name: string): Peer => peers.find((peer) => peer.name === name)!;

describe.each(peers.filter(({ name }) => !recordedOnly.has(name)))('$name', (peer) => {
  for (const work of chains) {
    if (!peer.does.includes(work.kind)) continue;
    needs(...(needed[peer.name] ?? [])).it(
      `takes one shard after another through the stages of ${work.name}`,
      async () => {
        const source = sources[work.kind]!;
        const expected = await expectedHash(work, source);
        await started(peer, work, async (runner) => {
          for (let round = 0; round < 2; round++) {
            const end = await runner.run(jobOf(source));
            expect(await hashOfFolder(end.dir)).toBe(expected);
            expect(end.spanMs).toBeGreaterThan(0);
          }
          for (const pid of runner.pids()) expect(() => process.kill(pid, 0)).not.toThrow();
          expect(runner.pids().length).toBeGreaterThanOrEqual(peer.name === 'one-process' ? 1 : work.stages + 1);
        });
      },
      timeoutMs,
    );
  }
});

describe.each(['http', 'grpc', 'files', 'redis', 'object-store'])('%s', (name) => {
  needs(...(needed[name] ?? [])).it(
    'takes several small shards at once',
    async () => {
      const inline = (text: string): Job['source'] => ({
        inline: { base64: Buffer.from(text).toString('base64') },
        format: 'bytes',
      });
      await started(named(name), pass, async (runner) => {
        expect(runner.jobsMax).toBeGreaterThan(1);
        await Promise.all(
          Array.from({ length: 8 }, async (_, index) => {
            const source = inline(`shard ${String(index)}`);
            const end = await runner.run(jobOf(source));
            expect(await hashOfFolder(end.dir)).toBe(await expectedHash(pass, source));
          }),
        );
      });
    },
    timeoutMs,
  );
});

describe('a peer', () => {
  it(
    'leaves no process and no value behind',
    async () => {
      const runner = named('object-store').make(pass, join(dir, 'objects'));
      await runner.start();
      await runner.run(jobOf(sources.bytes!));
      expect((await readdir(join(dir, 'objects', 'objects'))).length).toBe(0);
      const pids = runner.pids();
      await runner.close();
      for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow();
      await expect(readdir(join(dir, 'objects', 'objects'))).rejects.toThrow('ENOENT');
    },
    timeoutMs,
  );

  it(
    'fails when a stage of it fails, and can be closed then',
    async () => {
      await expect(
        started(named('http'), pass, (runner) => runner.run(jobOf({ uri: join(dir, 'absent'), format: 'bytes' }))),
      ).rejects.toThrow('http, input: Error: ENOENT');
    },
    timeoutMs,
  );

  it('that is not installed is missing, by name and with the way out', async () => {
    const path = process.env['PATH'];
    process.env['PATH'] = join(dir, 'nothing');
    try {
      await expect(started(named('redis'), pass, () => Promise.resolve())).rejects.toThrow(Missing);
      await expect(started(named('pipes'), pass, () => Promise.resolve())).rejects.toThrow('there is no mkfifo');
    } finally {
      process.env['PATH'] = path;
    }
  });

  it('says how it is tuned, and why it does not do what it does not do', () => {
    for (const { does, doesNot, settings } of peers) {
      expect(settings).toBeTruthy();
      expect([...does, ...Object.keys(doesNot ?? {})].toSorted()).toEqual(['bytes', 'flights', 'numbers', 'orders']);
    }
  });
});

describe('the flights', () => {
  needs('redis-server').it(
    'come out the same by services, by functions with a Redis, and in one process',
    async () => {
      const workload = await prepareWorkload(join(dir, 'stages'));
      const work: Work = { kind: 'flights', name: 'flights', workload };
      const hashes: string[] = [];
      for (const name of ['one-process', 'http-ndjson', 'http-columns', 'redis-records']) {
        await started(named(name), work, async (runner) => {
          const end = await runner.run(jobOf(largeSource(workload, 3000)));
          hashes.push(await hashOfFolder(end.dir));
        });
      }
      expect(new Set(hashes).size).toBe(1);
    },
    timeoutMs,
  );
});
