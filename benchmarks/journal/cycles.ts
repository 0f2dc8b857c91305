/** Claim and complete, by many clients at once: through the journal, and through BullMQ on a Redis that syncs each write. */
import { Queue, Worker } from 'bullmq';
import type { Journal } from '../../runtime/journal/journal.js';
import { RedisServer } from '../runners/redis-server.js';
import { quantile } from '../statistics.js';
import type { CycleRate } from './figures.js';
import { completion, cpuUs, now, query, shardOf } from './work.js';

export const clients = 64;

/** One claim or one completion at a time each, until there is nothing; `cycle` answers false then, and tells of each call's time. */
async function rateOf(cycle: (client: number, took: (ms: number) => void) => Promise<boolean>): Promise<CycleRate> {
  const calls: number[] = [];
  let cycles = 0;
  const [beganMs, beganUs] = [performance.now(), cpuUs()];
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      while (await cycle(client, (ms) => calls.push(ms))) cycles += 1;
    }),
  );
  return {
    cyclesPerSecond: (cycles * 1_000) / (performance.now() - beganMs),
    p99Ms: quantile(calls, 0.99),
    cpuUsEach: (cpuUs() - beganUs) / cycles,
  };
}

export function podlineCycles(journal: Journal): Promise<CycleRate> {
  return rateOf(async (client, took) => {
    const line = `line-${String(client)}`;
    const askedMs = performance.now();
    const [lease] = (await journal.lease(query(line), now())).leases;
    if (lease === undefined) return false;
    const gotMs = performance.now();
    took(gotMs - askedMs);
    await journal.complete(line, completion(lease.shardId, lease.epoch), now());
    took(performance.now() - gotMs);
    return true;
  });
}

export interface BullMq {
  /** Puts jobs in and takes them through. */
  round(count: number): Promise<CycleRate>;
  close(): Promise<void>;
}

/** Throws `Missing` where there is no redis-server. */
export async function startBullMq(): Promise<BullMq> {
  const server = await RedisServer.start({ appendonly: 'yes', appendfsync: 'always' });
  const connection = { path: server.socket, maxRetriesPerRequest: null };
  const queue = new Queue('bench', { connection });
  const worker = new Worker('bench', null, { connection, autorun: false });
  await worker.waitUntilReady();
  let jobs = 0;
  return {
    round: async (count) => {
      for (let done = 0; done < count; done += 1_000) {
        await queue.addBulk(
          Array.from({ length: Math.min(1_000, count - done) }, (_, index) => ({
            name: 'shard',
            data: shardOf(jobs + done + index),
          })),
        );
      }
      jobs += count;
      return rateOf(async (client, took) => {
        const token = `client-${String(client)}`;
        const askedMs = performance.now();
        const job = await worker.getNextJob(token, { block: false });
        if (job === undefined) return false;
        const gotMs = performance.now();
        took(gotMs - askedMs);
        // Without the next job: a claim and a completion are two calls here as there.
        await job.moveToCompleted(completion(job.id ?? '', 1), token, false);
        took(performance.now() - gotMs);
        return true;
      });
    },
    close: async () => {
      await worker.close();
      await queue.close();
      await server.close();
    },
  };
}
