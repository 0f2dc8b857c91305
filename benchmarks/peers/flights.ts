/** The peers of the flights pipeline: services, functions with a Redis, one process with all. Its graph has branches, so it has runners of its own. */
import { HttpRunner } from '../runners/http.js';
import { OneProcess } from '../runners/one-process.js';
import { RedisRunner } from '../runners/redis.js';
import type { Runner } from '../runners/runner.js';
import type { CodecName } from '../stage-protocol.js';
import type { Workload } from '../workload.js';
import type { Connection } from './chain-runner.js';
import type { Carrying } from './forms.js';

const codecs: Partial<Record<Carrying, CodecName>> = { ndjson: 'ndjson', msgpackr: 'records', columns: 'columns' };

/** Who sends columns sends only those that are read later. */
export function flightsRunner(name: string, title: string, workload: Workload, by: Connection, carrying: Carrying): Runner {
  const codec = codecs[carrying];
  const edges = carrying === 'columns' ? workload.tunedEdges : workload.edges;
  if (by.kind === 'nothing') return new OneProcess(workload);
  if (codec !== undefined && by.kind === 'store') return new RedisRunner(name, title, workload, edges, codec);
  if (codec !== undefined && by.kind === 'stream' && by.name === 'http')
    return new HttpRunner(name, title, workload, edges, codec);
  throw new Error(`${name} does not do the flights`);
}
