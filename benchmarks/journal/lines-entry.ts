/**
 * Many lines in a process of their own: each completes a shard and is leased the next one by the same call, over a connection that is
 * kept. argv: address, token, lines, cycles of all together, cycles a second (0: as fast as it goes). Prints a `CycleRate` as JSON.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Lease } from '../../runtime/contracts/line-api.js';
import { quantile } from '../statistics.js';
import type { CycleRate } from './figures.js';
import { KeptConnection } from './kept-connection.js';
import { completion, cpuUs, pipelineName } from './work.js';

const [url = '', token = '', ...numbers] = process.argv.slice(2);
const [lines = 0, cycles = 0, perSecond = 0] = numbers.map(Number);

interface Answer {
  leases?: Lease[];
}

const tookMs: number[] = [];
let begun = 0;
const connections = await Promise.all(Array.from({ length: lines }, () => KeptConnection.open(url, token)));
const firsts = await Promise.all(
  connections.map(async (connection, line) => {
    const path = `/v1/lines/line-${String(line)}`;
    const hello = { pipeline: pipelineName, instance: `i-${String(line)}`, node: 'bench', slots: 1, residents: [] };
    await connection.post(`${path}/hello`, hello);
    const { leases } = await connection.post<Answer>(`${path}/leases`, { max: 1, waitMs: 0, residents: [] });
    return leases?.[0];
  }),
);
const [beganMs, beganUs] = [performance.now(), cpuUs()];
await Promise.all(
  connections.map(async (connection, line) => {
    let lease = firsts[line];
    while (lease !== undefined && begun < cycles) {
      const dueMs = perSecond === 0 ? 0 : beganMs + (begun * 1_000) / perSecond;
      begun += 1;
      if (dueMs > performance.now()) await delay(dueMs - performance.now());
      const askedMs = performance.now();
      const body = { ...completion(lease.shardId, lease.epoch), next: { max: 1, residents: [] } };
      const { leases } = await connection.post<Answer>(`/v1/lines/line-${String(line)}/complete`, body);
      tookMs.push(performance.now() - askedMs);
      lease = leases?.[0];
    }
  }),
);
const seconds = (performance.now() - beganMs) / 1_000;
for (const connection of connections) connection.close();
const rate: CycleRate = {
  cyclesPerSecond: tookMs.length / seconds,
  p99Ms: quantile(tookMs, 0.99),
  cpuUsEach: (cpuUs() - beganUs) / tookMs.length,
};
console.log(JSON.stringify(rate));
