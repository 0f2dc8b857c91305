/**
 * Everybody whom Podline is compared with, in the order of the tables.
 *
 * For each: what it does, why it does not do the rest, and how it is tuned; all of this is shown in the report. Who carries what:
 * bytes go as they are everywhere; records as lines of JSON, as messages of msgpackr, or as columns.
 */
import type { Peer } from '../runners/runner.js';
import type { WorkKind } from '../work/work.js';
import { ChainRunner, type Connection } from './chain-runner.js';
import { flightsRunner } from './flights.js';
import type { Carrying } from './forms.js';
import { pythonPeers } from './python-peers.js';
import { startFiles } from './servers/files.js';
import { startObjectStore } from './servers/start-object-store.js';
import { startPostgres } from './servers/start-postgres.js';
import { startRedis } from './servers/start-redis.js';

const branches = 'the graph has branches: services and functions with Redis stand for the others';
const httpOthers = 'records go by http-ndjson, http-records and http-columns';
const redisOthers = 'records go by redis-records and redis-columns';
const http: Connection = { kind: 'stream', name: 'http' };
const redis: Connection = { kind: 'store', start: startRedis, media: ['network'] };
const objects = (fsync: boolean): Connection => ({ kind: 'store', start: startObjectStore(fsync), media: ['network', 'ssd'] });

interface Description {
  name: string;
  title: string;
  by: Connection;
  /** How each kind of work is carried. */
  carries: Partial<Record<WorkKind, Carrying>>;
  settings: string;
  doesNot: Partial<Record<WorkKind, string>>;
}

/** Values of a store, or messages of a pipe, made as small and as cheap to read as they can be. */
const tuned = { bytes: 'columns', numbers: 'columns', orders: 'msgpackr' } as const;
const tunedText = 'numbers as columns, orders by msgpackr';
const httpText =
  'connections kept alive, no Nagle, 1 MiB before a socket asks to wait, all services at work at once on the stream';
const redisText = 'unix socket, pipelined, nothing on disk; functions one after another, two values ahead';
const objectText =
  'a store of our own (Node), objects as files on the disk, connections kept alive; functions one after another, two objects ahead';

const descriptions: Description[] = [
  {
    name: 'one-process',
    title: 'one process with all stages, no hand-over',
    by: { kind: 'nothing' },
    carries: { bytes: 'columns', numbers: 'columns', orders: 'msgpackr', flights: 'columns' },
    settings: 'one thread, block after block; numbers as columns',
    doesNot: {},
  },
  {
    name: 'pipes',
    title: 'pipes between processes of one container (tuned)',
    by: { kind: 'stream', name: 'pipe' },
    carries: tuned,
    settings: `pipes of the kernel (64 KiB), frames, all processes at work at once; ${tunedText}`,
    doesNot: { flights: 'a pipe has one end at each side; the graph has branches' },
  },
  {
    name: 'files',
    title: 'files on the disk of one node',
    by: { kind: 'store', start: startFiles, media: ['ssd'] },
    carries: tuned,
    settings: `a file for each block, not synced: reads come from the page cache; functions one after another; ${tunedText}`,
    doesNot: { flights: branches },
  },
  {
    name: 'http',
    title: 'HTTP, stream of bytes',
    by: http,
    carries: { bytes: 'columns' },
    settings: httpText,
    doesNot: { numbers: httpOthers, orders: httpOthers, flights: httpOthers },
  },
  {
    name: 'http-ndjson',
    title: 'HTTP, NDJSON',
    by: http,
    carries: { numbers: 'ndjson', orders: 'ndjson', flights: 'ndjson' },
    settings: `${httpText}; lines put together by code made for the fields, parsed many at a time`,
    doesNot: { bytes: 'bytes are no records' },
  },
  {
    name: 'http-records',
    title: 'HTTP, msgpackr records (tuned)',
    by: http,
    carries: { numbers: 'msgpackr', orders: 'msgpackr', flights: 'msgpackr' },
    settings: `${httpText}; msgpackr with structures, strings bundled`,
    doesNot: { bytes: 'bytes are no records' },
  },
  {
    name: 'http-columns',
    title: 'HTTP, columns (tuned)',
    by: http,
    carries: { numbers: 'columns', flights: 'columns' },
    settings: `${httpText}; arrays as they lie in memory, worked on where they were received`,
    doesNot: { bytes: 'bytes have no columns', orders: 'the stages work on records of text' },
  },
  {
    name: 'grpc',
    title: 'gRPC (grpc-js)',
    by: { kind: 'stream', name: 'grpc' },
    carries: { bytes: 'protobuf', numbers: 'protobuf', orders: 'protobuf' },
    settings: 'client streams, chunks of 256 KiB, window of 16 MiB, serializers by proto-loader; numbers as columns in chunks',
    doesNot: { flights: branches },
  },
  {
    name: 'redis',
    title: 'Redis between functions',
    by: redis,
    carries: { bytes: 'columns' },
    settings: redisText,
    doesNot: { numbers: redisOthers, orders: redisOthers, flights: redisOthers },
  },
  {
    name: 'redis-records',
    title: 'Redis, msgpackr records',
    by: redis,
    carries: { numbers: 'msgpackr', orders: 'msgpackr', flights: 'msgpackr' },
    settings: redisText,
    doesNot: { bytes: 'bytes are no records' },
  },
  {
    name: 'redis-columns',
    title: 'Redis, columns (tuned)',
    by: redis,
    carries: { numbers: 'columns', flights: 'columns' },
    settings: redisText,
    doesNot: { bytes: 'bytes have no columns', orders: 'the stages work on records of text' },
  },
  {
    name: 'object-store',
    title: 'object store between functions, not synced',
    by: objects(false),
    carries: tuned,
    settings: `${objectText}; no fsync; ${tunedText}`,
    doesNot: { flights: branches },
  },
  {
    name: 'object-store-fsync',
    title: 'object store between functions, synced',
    by: objects(true),
    carries: tuned,
    settings: `${objectText}; fsync before a PUT is answered; ${tunedText}`,
    doesNot: { flights: branches },
  },
  {
    name: 'postgres',
    title: 'PostgreSQL, bytea, between functions',
    by: { kind: 'store', start: startPostgres, media: ['network'], jobsMax: 1 },
    carries: tuned,
    settings: `unix socket, binary COPY both ways, unlogged table, storage external, fsync off; ${tunedText}`,
    doesNot: { flights: branches },
  },
];

const peerOf = ({ name, title, by, carries, settings, doesNot }: Description): Peer => ({
  name,
  title,
  settings,
  doesNot,
  does: Object.keys(carries) as WorkKind[],
  make(work, dir) {
    const carrying = carries[work.kind];
    if (carrying === undefined) throw new Error(`${name} does not do ${work.kind}`);
    if (work.kind === 'flights') return flightsRunner(name, title, work.workload, by, carrying);
    return new ChainRunner(name, title, work, carrying, by, dir);
  },
});

export const peers: readonly Peer[] = [...descriptions.map(peerOf), ...pythonPeers];
