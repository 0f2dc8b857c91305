import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, onTestFinished } from 'vitest';
import { PodlineClient } from '../../../runtime/api/client.js';
import { LineClient } from '../../../runtime/api/line-client.js';
import { isPodlineError } from '../../../runtime/contracts/errors.js';
import type { PodlineEvent } from '../../../runtime/contracts/events.js';
import { openJournal } from '../../../runtime/journal/open-journal.js';
import type { Journal } from '../../../runtime/journal/journal.js';
import { packageRoot } from '../../../runtime/platform/entries.js';
import { completeOf, heartbeatOf, helloOf, pipelineOf, shardOf } from '../../support/journal.js';
import { testDatabase } from '../../support/postgres.js';
import { needs } from '../../support/require.js';

const database = testDatabase();
const token = 'secret';
/** The promise: from the death of the leader to the next answered write. */
const failoverMsMax = 10_000;

class Replica {
  readonly child: ChildProcess;
  readonly #said: string[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(
    url: string,
    readonly port: number,
  ) {
    const script = join(packageRoot, 'test/integration/failover/coordinator.mjs');
    this.child = spawn(process.execPath, [script, packageRoot, url, String(port)], { stdio: ['ignore', 'pipe', 'inherit'] });
    if (this.child.stdout !== null)
      createInterface({ input: this.child.stdout }).on('line', (line) => {
        this.#said.push(line);
        for (const look of this.#waiting) look();
      });
    onTestFinished(() => this.kill());
  }

  get url(): string {
    return `http://127.0.0.1:${String(this.port)}`;
  }

  get leads(): boolean {
    return this.#said.some((line) => line.startsWith('leads'));
  }

  async says(what: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        if (!this.#said.some((line) => line.startsWith(what))) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      this.child.once('exit', (code) => reject(new Error(`the coordinator ended with ${String(code)}`)));
      look();
    });
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.kill('SIGCONT');
    this.child.kill('SIGKILL');
    await ended;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

interface Stage {
  journal: Journal;
  replicas: [Replica, Replica];
  client: PodlineClient;
  addresses: string;
}

async function stage(): Promise<Stage> {
  const url = await database.url();
  const journal = await openJournal(url, { idPrefix: 'shard' });
  onTestFinished(() => journal.close());
  const replicas: [Replica, Replica] = [new Replica(url, await freePort()), new Replica(url, await freePort())];
  await Promise.all(replicas.map((replica) => replica.says('listens')));
  await Promise.race(replicas.map((replica) => replica.says('leads')));
  const addresses = replicas.map((replica) => replica.url).join(',');
  const client = PodlineClient.connect(addresses, token);
  onTestFinished(() => client.close());
  await client.applyPipeline(pipelineOf());
  return { journal, replicas, client, addresses };
}

const submission = (key: string): { key: string; source: ReturnType<typeof shardOf>['source'] } => {
  const { source } = shardOf(key);
  return { key, source };
};
const leaderOf = ({ replicas: [first, second] }: Stage): { leader: Replica; standby: Replica } =>
  first.leads ? { leader: first, standby: second } : { leader: second, standby: first };

async function allEvents(journal: Journal): Promise<PodlineEvent[]> {
  const events: PodlineEvent[] = [];
  for (let page = await journal.events(0, 1_000); page.length > 0; page = await journal.events(events.at(-1)?.id ?? 0, 1_000))
    events.push(...page);
  return events;
}

const { it } = needs('postgres');

it('goes on under another leader when the leader is killed under load: nothing accepted is lost, nothing is leased twice', async () => {
  const at = await stage();
  const { journal, client, addresses } = at;
  const { leader, standby } = leaderOf(at);
  const accepted = new Map<string, string>();
  const leases = new Map<string, string>();
  const completed: { shardId: string; ms: number }[] = [];
  let isOver = false as boolean;

  const submitter = async (name: string): Promise<void> => {
    for (let count = 0; !isOver; count += 1) {
      const key = `${name}-${String(count)}`;
      const answer = await client.submit('flights', submission(key));
      if (answer.outcome !== 'rejected') accepted.set(key, answer.id);
    }
  };
  const work = async (name: string): Promise<void> => {
    const line = new LineClient({ url: addresses, token, line: name, instance: `${name}-a` });
    onTestFinished(() => {
      line.close();
    });
    await line.hello(helloOf(`${name}-a`));
    for (;;) {
      const { leases: got } = await line.lease({ max: 2, waitMs: 200, residents: [] });
      for (const { shardId, epoch } of got) {
        const lease = `${shardId} ${String(epoch)}`;
        expect(leases.get(lease) ?? name).toBe(name);
        leases.set(lease, name);
      }
      await line.heartbeat(heartbeatOf(`${name}-a`, got));
      for (const { shardId, epoch } of got) {
        await line.complete(completeOf(shardId, epoch)).then(
          () => completed.push({ shardId, ms: performance.now() }),
          (thrown: unknown) => {
            if (!isPodlineError(thrown, 'PDL_LEASE_LOST')) throw thrown;
          },
        );
      }
      const { pending, running } = await client.progress('flights');
      if (isOver && pending === 0 && running === 0) return;
    }
  };
  const lines = Promise.all(Array.from({ length: 6 }, (_, index) => work(`line-${String(index)}`)));
  const submitters = Promise.all(['a', 'b', 'c'].map(submitter));
  await expect.poll(() => completed.length, { timeout: 60_000 }).toBeGreaterThan(50);

  const killedMs = performance.now();
  await leader.kill();
  await standby.says('leads');
  const ledMs = performance.now();
  const before = completed.length;
  await expect.poll(() => completed.length, { timeout: 60_000 }).toBeGreaterThan(before + 50);
  const firstMs = completed.find(({ ms }) => ms > ledMs)?.ms ?? Number.POSITIVE_INFINITY;
  expect(firstMs - killedMs).toBeLessThan(failoverMsMax);
  isOver = true;
  await submitters;
  await lines;

  expect(accepted.size).toBeGreaterThan(100);
  for (const [key, id] of accepted) expect(await journal.shardByKey('flights', key)).toMatchObject({ id, state: 'completed' });
  const events = await allEvents(journal);
  expect(events.map((event) => event.id)).toEqual(Array.from({ length: events.length }, (_, index) => index + 1));
  const leased = events
    .filter((event) => event.type === 'shard.leased')
    .map((event) => `${event.shardId ?? ''} ${String(event.data['epoch'])}`);
  expect(new Set(leased).size).toBe(leased.length);
  for (const lease of leases.keys()) expect(leased).toContain(lease);
  const ended = events.filter((event) => event.type === 'shard.completed').map((event) => event.shardId);
  expect(new Set(ended).size).toBe(ended.length);
  expect(ended).toHaveLength((await journal.counts('flights')).completed);
});

it('has the same state after the failover as before', async () => {
  const at = await stage();
  const { journal, client, addresses } = at;
  const { leader, standby } = leaderOf(at);
  await client.submitAll(
    'flights',
    Array.from({ length: 200 }, (_, index) => submission(String(index))),
  );
  const line = new LineClient({ url: addresses, token, line: 'line-0', instance: 'a' });
  onTestFinished(() => {
    line.close();
  });
  await line.hello(helloOf('a'));
  const { leases } = await line.lease({ max: 50, waitMs: 0, residents: [] });
  for (const { shardId, epoch } of leases.slice(0, 20)) await line.complete(completeOf(shardId, epoch));
  const hash = await journal.stateHash();
  await leader.kill();
  await standby.says('leads');
  expect(await journal.stateHash()).toBe(hash);
  // The line goes on with what it holds, under the epochs that it has.
  const held = leases.slice(20);
  expect((await line.heartbeat(heartbeatOf('a', held))).lost).toEqual([]);
  for (const { shardId, epoch } of held) await line.complete(completeOf(shardId, epoch));
  expect(await client.progress('flights')).toMatchObject({ completed: 50, running: 0, pending: 150 });
});

it('refuses the writes of a leader that stood still while another one took over, and lets a standby answer questions', async () => {
  const at = await stage();
  const { client } = at;
  const { leader, standby } = leaderOf(at);
  const direct = (replica: Replica): PodlineClient => {
    const only = PodlineClient.connect(replica.url, token, { triesMax: 1 });
    onTestFinished(() => only.close());
    return only;
  };
  const { id } = (await client.getByKey('flights', 'a').catch(() => client.submit('flights', submission('a')))) as { id: string };
  await expect(direct(standby).submit('flights', submission('b'))).rejects.toMatchObject({
    code: 'PDL_NOT_LEADER',
    place: leader.url,
  });
  expect(await direct(standby).get(id)).toMatchObject({ key: 'a', state: 'pending' });
  expect(await direct(standby).progress('flights')).toMatchObject({ pending: 1 });

  leader.child.kill('SIGSTOP');
  await standby.says('leads');
  await direct(standby).submit('flights', submission('c'));
  leader.child.kill('SIGCONT');
  await expect(direct(leader).submit('flights', submission('d'))).rejects.toMatchObject({ code: 'PDL_NOT_LEADER' });
  expect((await direct(standby).list('flights')).shards.map(({ key }) => key)).toEqual(['a', 'c']);
});
