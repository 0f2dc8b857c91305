/**
 * An outside scheduler of dependencies: it knows a graph of requests and the API, and nothing else. A request is submitted when all
 * before it have completed, as the stream of events tells, and their results are its payload.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { PodlineClient } from '../../../runtime/api/client.js';
import type { Shard } from '../../../runtime/contracts/shard.js';
import { folder } from '../../support/journal.js';
import { serving } from '../../support/serving.js';

interface Node {
  task: 'double' | 'sum';
  /** What the request brings itself; the others are given the results of those before them. */
  rows?: { v: number }[];
  after?: readonly string[];
}
type Graph = Readonly<Record<string, Node>>;

const rowsOf = (...values: number[]): { v: number }[] => values.map((v) => ({ v }));
const threeLayers: Graph = {
  a: { task: 'double', rows: rowsOf(1, 2) },
  b: { task: 'double', rows: rowsOf(3) },
  c: { task: 'double', rows: rowsOf(4, 5) },
  both: { task: 'sum', after: ['a', 'b'] },
  one: { task: 'sum', after: ['c'] },
  all: { task: 'sum', after: ['both', 'one'] },
};

const programs = {
  double: `const values = (rows) => rows.map((v) => 2 * v);`,
  sum: `const values = (rows) => { if (rows.some((v) => v < 0)) throw new Error('less than nothing'); return [rows.reduce((a, b) => a + b, 0)]; };`,
};
const program = (values: string): string => `
import { readFileSync } from 'node:fs';
${values}
const rows = readFileSync(0, 'utf8').split('\\n').filter((line) => line !== '').map((line) => JSON.parse(line).v);
for (const v of values(rows)) console.log(JSON.stringify({ v }));
`;

async function coordinatorOf(dir: string): Promise<PodlineClient> {
  mkdirSync(join(dir, 'results'));
  for (const [name, values] of Object.entries(programs)) {
    writeFileSync(join(dir, `${name}.mjs`), program(values));
    const stage = { name, command: [process.execPath, join(dir, `${name}.mjs`)], stdio: 'ndjson', retries: 0 };
    const spec = {
      input: { format: 'ndjson', columns: { v: 'int64' } },
      slots: 1,
      retries: { limit: 0 },
      stages: [stage],
      result: { dir: './results', format: 'ndjson' },
    };
    const manifest = { apiVersion: 'podline.dev/v1alpha1', kind: 'Pipeline', metadata: { name }, spec };
    writeFileSync(join(dir, `${name}.yaml`), JSON.stringify(manifest));
  }
  const pipelines = Object.keys(programs).map((name) => ({ manifest: `${name}.yaml`, lines: 1 }));
  const roots = [join(dir, 'results')];
  const config = { listen: { port: 0 }, driver: 'local', pipelines, allowed: { sources: { roots }, results: { roots } } };
  const server = await serving(dir, JSON.stringify(config));
  const client = PodlineClient.connect(server.url, server.operator);
  onTestFinished(() => client.close());
  return client;
}

class Scheduler {
  /** Names of the requests, and what each submission was answered. */
  readonly asked: string[] = [];
  readonly #ends = new Map<string, Promise<Shard>>();

  constructor(
    private readonly client: PodlineClient,
    private readonly graph: Graph,
  ) {}

  /** The end of a request, which is submitted once those before it have completed. Throws when one of them has not. */
  end(name: string): Promise<Shard> {
    let end = this.#ends.get(name);
    if (end === undefined) this.#ends.set(name, (end = this.#take(name)));
    return end;
  }

  async #take(name: string): Promise<Shard> {
    const { task, rows, after = [] } = this.graph[name] ?? expect.fail(`the graph has no ${name}`);
    const before = await Promise.all(after.map((other) => this.end(other)));
    const answer = await this.client.request({ task, payload: rows ?? (await this.#payloadOf(before)), key: name });
    this.asked.push(`${name} ${answer.outcome}`);
    const shard = await this.client.waitFor('id' in answer ? answer.id : expect.fail(answer.error.message));
    if (shard.state !== 'completed') throw new Error(`${name} ${shard.state}: ${shard.error?.message ?? ''}`);
    return shard;
  }

  /** One result is read where it lies; several are read through the API and put together. */
  async #payloadOf(before: readonly Shard[]): Promise<string | { uri: string }> {
    const [only] = before;
    if (before.length === 1 && only !== undefined) {
      const { dir, files } = await this.client.result(only.id);
      return { uri: join(dir, files[0]?.name ?? '') };
    }
    return (await Promise.all(before.map(({ id }) => textOf(this.client, id)))).join('');
  }
}

async function textOf(client: PodlineClient, id: string): Promise<string> {
  const { files } = await client.result(id);
  const pieces: Uint8Array[] = [];
  for await (const piece of client.resultFile(id, files[0]?.name ?? '')) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

it('satisfies a graph of three layers through the API alone, and changes nothing when it begins anew', async () => {
  const client = await coordinatorOf(folder());
  const first = new Scheduler(client, threeLayers);
  const last = await first.end('all');
  expect(JSON.parse(await textOf(client, last.id))).toEqual({ v: 30 });
  expect(first.asked.toSorted()).toEqual(
    Object.keys(threeLayers)
      .map((name) => `${name} accepted`)
      .toSorted(),
  );

  // In the log of the coordinator each was submitted behind the completion of all before it.
  const newest = await client.lastEventId();
  const at = new Map<string, number>();
  const nameOf = new Map<string, string>();
  for (const name of Object.keys(threeLayers)) nameOf.set((await first.end(name)).id, name);
  for await (const { id, type, shardId = '' } of client.events({ after: 0 })) {
    if (type === 'shard.submitted' || type === 'shard.completed') at.set(`${type} ${nameOf.get(shardId) ?? ''}`, id);
    if (id >= newest) break;
  }
  expect(at.size).toBe(2 * nameOf.size);
  for (const [name, { after = [] }] of Object.entries(threeLayers))
    for (const before of after)
      expect(at.get(`shard.completed ${before}`), `${before} before ${name}`).toBeLessThan(
        at.get(`shard.submitted ${name}`) ?? 0,
      );

  // A scheduler that was killed asks again: the keys say which requests are there already.
  const again = new Scheduler(client, threeLayers);
  expect((await again.end('all')).id).toBe(last.id);
  expect(again.asked.every((answer) => answer.endsWith(' duplicate'))).toBe(true);
  const counts = await Promise.all(['double', 'sum'].map((pipeline) => client.progress(pipeline)));
  expect(counts.map(({ completed }) => completed)).toEqual([3, 3]);
}, 120_000);

it('is told of a request that failed, and submits none of those behind it', async () => {
  const client = await coordinatorOf(folder());
  const broken: Graph = { ...threeLayers, c: { task: 'double', rows: rowsOf(-4) } };
  const scheduler = new Scheduler(client, broken);
  await expect(scheduler.end('all')).rejects.toThrow(/^one failed/);
  // The other side of the graph is done all the same.
  await scheduler.end('both');
  expect(scheduler.asked.toSorted()).toEqual(['a', 'b', 'both', 'c', 'one'].map((name) => `${name} accepted`));
  await expect(client.getByKey('sum', 'all')).rejects.toMatchObject({ code: 'PDL_SHARD_UNKNOWN' });
}, 120_000);
