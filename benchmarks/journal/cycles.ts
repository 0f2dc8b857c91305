/** Claim and complete, by many clients at once: through the journal, and through BullMQ on a Redis that syncs each write. */
import { Job, Queue, Worker, type JobJsonRaw } from 'bullmq';
import type { Lease } from '../../runtime/contracts/line-api.js';
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

/** As lines do it: a completion and the next claim are one call and one transition. A call's time is that of the whole cycle. */
export function podlineChained(journal: Journal): Promise<CycleRate> {
  const held = new Map<number, Lease>();
  return rateOf(async (client, took) => {
    const line = `line-${String(client)}`;
    const askedMs = performance.now();
    const before = held.get(client);
    const next =
      before === undefined
        ? await journal.lease(query(line), now())
        : (await journal.completeAndLease(line, completion(before.shardId, before.epoch), query(line), now())).leased;
    took(performance.now() - askedMs);
    const [lease] = next?.leases ?? [];
    held.delete(client);
    if (lease !== undefined) held.set(client, lease);
    return lease !== undefined;
  });
}

export interface BullMq {
  /** Puts jobs in and takes them through: a claim and a completion in two calls, or the completion and the next claim in one. */
  round(count: number, form: 'apart' | 'chained'): Promise<CycleRate>;
  close(): Promise<void>;
}

/** `moveToFinished` with the next job: one script of Redis for both. */
function chained(worker: Worker): Promise<CycleRate> {
  const held = new Map<number, Job>();
  return rateOf(async (client, took) => {
    const token = `client-${String(client)}`;
    const askedMs = performance.now();
    const before = held.get(client);
    let job: Job | undefined;
    if (before === undefined) job = await worker.getNextJob(token, { block: false });
    else {
      const next: unknown = await before.moveToCompleted(completion(before.id ?? '', 1), token, true);
      const [data, id] = Array.isArray(next) ? (next as [JobJsonRaw | undefined, string | undefined]) : [];
      job = data === undefined || id === undefined ? undefined : Job.fromJSON(worker, data, id);
    }
    took(performance.now() - askedMs);
    held.delete(client);
    if (job !== undefined) held.set(client, job);
    return job !== undefined;
  });
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
    round: async (count, form) => {
      for (let done = 0; done < count; done += 1_000) {
        await queue.addBulk(
          Array.from({ length: Math.min(1_000, count - done) }, (_, index) => ({
            name: 'shard',
            data: shardOf(jobs + done + index),
          })),
        );
      }
      jobs += count;
      if (form === 'chained') return chained(worker);
      return rateOf(async (client, took) => {
        const token = `client-${String(client)}`;
        const askedMs = performance.now();
        const job = await worker.getNextJob(token, { block: false });
        if (job === undefined) return false;
        const gotMs = performance.now();
        took(gotMs - askedMs);
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
