/**
 * A load run: shards come over HTTP, as files and by a broker while every kind of fault happens, one every ten seconds. In the end each shard that was
 * accepted was delivered, once, with the right result.
 *
 * PODLINE_LOAD_MINUTES says how long shards come at least (1; `.ci/nightly` takes 10), PODLINE_SEED in which order what fails.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { PostgresServer } from '../../../benchmarks/peers/servers/postgres-server.js';
import { completionSchema } from '../../../runtime/contracts/connectors.js';
import type { Shard } from '../../../runtime/contracts/shard.js';
import { openJournal } from '../../../runtime/journal/open-journal.js';
import { commit, faultPlan, possibleFaults, type FaultKind } from '../../support/load/faults.js';
import { BrokerSubmitter, FolderSubmitter, HttpSubmitter, Watcher, persistently } from '../../support/load/submitters.js';
import { LoadWorld, expected, pipelineName, queues } from '../../support/load/world.js';
import { RabbitmqServer } from '../../support/rabbitmq.js';
import { needs } from '../../support/require.js';
import { until } from '../../support/until.js';
import { Random } from '../../simulation/random.js';

const minutes = Number(process.env['PODLINE_LOAD_MINUTES'] ?? 1);
const seed = Number(process.env['PODLINE_SEED'] ?? 1);
const faultEveryMs = 10_000;
/** Beyond the minutes, for what fails last to be made good. */
const graceMs = 10 * 60_000;

const { it } = needs('postgres', 'rabbitmq', 'tmpfs');

it(
  `delivers each shard once while everything fails (PODLINE_SEED=${String(seed)})`,
  async () => {
    const database = await PostgresServer.start({ shared_buffers: '64MB' });
    onTestFinished(() => database.close(), 60_000);
    const address = `postgres://${database.user}@localhost/postgres?host=${encodeURIComponent(database.dir)}&schema=load`;
    const broker = await RabbitmqServer.start();
    onTestFinished(() => broker.end(), 60_000);
    const world = await LoadWorld.start(address, broker.port);
    onTestFinished(() => world.close(), 60_000);
    const journal = await openJournal(address);
    onTestFinished(() => journal.close());
    const { client } = world;
    await until(() =>
      client.progress(pipelineName).then(
        () => true,
        () => false,
      ),
    );

    const submitters = ['a', 'b', 'c'].map((name) => new HttpSubmitter(client, name));
    const files = new FolderSubmitter(world.inbox);
    const atBroker = new BrokerSubmitter(broker, queues);
    onTestFinished(() => {
      atBroker.close();
    });
    const watcher = new Watcher(client);
    const watching = watcher.run();
    const submitting = Promise.all([...submitters.map((submitter) => submitter.run()), files.run(200), atBroker.run(200)]);
    const completed = async (): Promise<number> => (await persistently(() => client.progress(pipelineName))).completed;

    const random = new Random(seed);
    const done: FaultKind[] = [];
    const kinds = possibleFaults(world);
    if (!world.ownDisk) console.log('without a full disk of results: not root, so none of its own can be mounted');
    // RabbitMQ 3.10 may find no leader any more for a quorum queue that was made seconds before it is killed.
    await until(() => atBroker.completed.size > 0);
    await broker.restart();
    atBroker.connectAnew();
    const endMs = performance.now() + minutes * 60_000;
    for (const kind of faultPlan(kinds, random)) {
      const nextMs = performance.now() + faultEveryMs;
      // However short the run is, each kind happens once.
      const isOver = (): boolean => performance.now() >= endMs && done.length >= kinds.length;
      await until(() => performance.now() >= nextMs || isOver());
      if (isOver()) break;
      await commit(kind, { world, database, broker, atBroker, watcher, journal, random });
      done.push(kind);
      // What was done is over when shards end again.
      const before = await completed();
      await until(async () => (await completed()) > before);
    }
    for (const submitter of [...submitters, files, atBroker]) submitter.end();
    await submitting;

    const accepted = new Map(submitters.flatMap((submitter) => [...submitter.accepted]));
    const total = accepted.size + files.dropped.length + atBroker.sent.length;
    await until(async () => {
      const { pending, running, completed: ended } = await persistently(() => client.progress(pipelineName));
      return pending + running === 0 && ended >= total;
    });
    const words = `${done.join(', ')}\n${world.logs()}`;

    expect(await persistently(() => client.progress(pipelineName)), words).toMatchObject({
      completed: total,
      failed: 0,
      cancelled: 0,
    });
    await until(() => watcher.completed.size === total);
    expect([...watcher.completed].filter(([, times]) => times !== 1)).toEqual([]);
    // The queue is told of all of them, whoever handed them in.
    await until(() => atBroker.completed.size >= total);
    expect(atBroker.completed.size).toBe(total);
    watcher.end();
    await watching;

    const shards: Shard[] = [];
    for await (const shard of client.listAll(pipelineName)) shards.push(shard);
    expect(shards).toHaveLength(total);
    const wrong = shards.filter((shard) => resultOf(shard) !== `${JSON.stringify(expected(valueOf(shard)))}\n`);
    expect(wrong.map(({ key }) => key)).toEqual([]);
    for (const [key, id] of accepted) expect(shards.find((shard) => shard.key === key)?.id).toBe(id);

    const ended = join(world.inbox, 'done');
    await until(() => files.dropped.every((name) => existsSync(join(ended, name))));
    const completions = files.dropped.map((name) =>
      completionSchema.parse(JSON.parse(readFileSync(join(ended, `${name}.completion.json`), 'utf8'))),
    );
    expect(new Set(completions.map(({ id }) => id)).size).toBe(files.dropped.length);
    expect(readdirSync(join(world.inbox, 'failed'))).toEqual([]);

    for (const replica of world.replicas) await replica.end('SIGTERM');
    const hash = await journal.stateHash();
    await database.end('fast');
    await database.begin();
    expect(await journal.stateHash()).toBe(hash);
    console.log(`${String(total)} shards, ${String(done.length)} faults: ${done.join(', ')}`);
  },
  minutes * 60_000 + graceMs,
);

const valueOf = ({ key }: Shard): number => Number(/(\d+)(\.ndjson@.*)?$/.exec(key)?.[1]);

/** What lies there, read as whoever asked for it does. */
function resultOf({ result }: Shard): string {
  if (result === undefined) return '';
  return result.files.map(({ name }) => readFileSync(join(result.dir, name), 'utf8')).join('');
}
