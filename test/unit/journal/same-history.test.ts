import { expect, onTestFinished } from 'vitest';
import { PodlineError } from '../../../runtime/contracts/errors.js';
import type { Journal, Moment } from '../../../runtime/journal/journal.js';
import { openJournal } from '../../../runtime/journal/open-journal.js';
import { completeOf, folder, pipelineOf, shardOf } from '../../support/journal.js';
import { testDatabase } from '../../support/postgres.js';
import { needs } from '../../support/require.js';
import { Random } from '../../simulation/random.js';

const database = testDatabase();
const steps = 400;
const rules = {
  retries: { limit: 2, backoff: { initialMs: 50, factor: 2, maxMs: 200 } },
  timeLimits: { pendingMs: 2_000, runningMs: 1_500 },
  pendingMax: 60,
  lostLeasesMax: 2,
};
const retention = { doneMax: 20, doneMs: 1_000, failedMax: 10, failedMs: 3_000, eventsMax: 200, eventsMs: 2_000 };

/** One call at random, the same for the same numbers; what it answers or throws, as text. */
async function step(
  journal: Journal,
  random: Random,
  now: Moment,
  held: Map<string, { line: string; epoch: number }>,
): Promise<string> {
  const pick = <T>(values: readonly T[]): T | undefined => values[random.int(0, Math.max(0, values.length - 1))];
  const id = pick([...held.keys()]) ?? 'none';
  const { line, epoch } = held.get(id) ?? { line: 'line-0', epoch: 1 };
  const failure = { error: new PodlineError('PDL_STAGE_FAILED', 'no').toWire(), counts: random.int(0, 3) > 0, stage: 'clean' };
  const calls: (() => Promise<unknown>)[] = [
    () =>
      journal.submit(
        'flights',
        [shardOf(`k${String(random.int(0, 90))}`, { priority: random.int(0, 9), group: pick(['default', 'big']) ?? '' })],
        now,
      ),
    () => journal.submit('flights', [shardOf(`k${String(random.int(0, 90))}`), shardOf(`k${String(random.int(0, 90))}`)], now),
    async () => {
      const name = `line-${String(random.int(0, 3))}`;
      const prefer = [...held.keys()].slice(0, 2);
      const reclaim = random.int(0, 5) === 0 ? [...held].filter(([, lease]) => lease.line === name).map(([shard]) => shard) : [];
      const outcome = await journal.lease(
        {
          pipeline: 'flights',
          line: name,
          group: pick(['default', 'big']) ?? '',
          instance: 'a',
          max: random.int(1, 4),
          freshMax: random.int(0, 4),
          prefer,
          reclaim,
        },
        now,
      );
      for (const lease of outcome.leases) held.set(lease.shardId, { line: name, epoch: lease.epoch });
      return outcome;
    },
    () => journal.complete(line, completeOf(id, epoch), now),
    async () => {
      const query = { pipeline: 'flights', line, group: 'default', instance: 'a', max: 2, freshMax: 2, prefer: [], reclaim: [] };
      const outcome = await journal.completeAndLease(line, completeOf(id, epoch), query, now);
      for (const lease of outcome.leased?.leases ?? []) held.set(lease.shardId, { line, epoch: lease.epoch });
      return outcome;
    },
    () => journal.fail(line, { shardId: id, epoch }, failure, now),
    () => journal.expire([{ shardId: id, epoch }], 'silent', now),
    () => journal.cancel(id, now),
    () => journal.retry(id, now),
    () => journal.resume(id, 'score', now),
    () => journal.report(line, [{ shardId: id, epoch, stagesDone: ['clean'] }], [], now),
    () => journal.advance(now, 5),
    () => journal.setPaused('flights', random.int(0, 4) === 0, now),
  ];
  const chosen = random.int(0, calls.length - 1);
  try {
    return `${String(chosen)} ${JSON.stringify(await (calls[chosen] ?? calls[0])?.())}`;
  } catch (thrown) {
    if (!(thrown instanceof PodlineError)) throw thrown;
    return `${String(chosen)} ${thrown.code}`;
  }
}

needs('postgres').it('makes the same journal of the same history in LMDB and in PostgreSQL', async () => {
  const journals = [
    await openJournal(`lmdb:${folder()}`, { idPrefix: 'same', retention }),
    await openJournal(await database.url(), { idPrefix: 'same', retention }),
  ];
  onTestFinished(async () => {
    for (const journal of journals) await journal.close();
  });
  const told: string[][] = [];
  const hashes: string[][] = [];
  for (const journal of journals) {
    await journal.takeTerm();
    const at = (ms: number): Moment => ({ ms, at: new Date(Date.UTC(2026, 0, 1) + ms).toISOString() });
    const random = new Random(7);
    const held = new Map<string, { line: string; epoch: number }>();
    await journal.applyPipeline(pipelineOf(), rules, at(0));
    const [answers, states]: [string[], string[]] = [[], []];
    for (let count = 1; count <= steps; count += 1) {
      answers.push(await step(journal, random, at(count * 20), held));
      if (count % 50 === 0) states.push(await journal.stateHash());
    }
    answers.push(JSON.stringify((await journal.events(0, 10_000)).map(({ id, type, shardId }) => [id, type, shardId])));
    answers.push(JSON.stringify((await journal.list({ pipeline: 'flights', max: 1_000 })).shards));
    answers.push(String(await journal.nextDueMs()));
    told.push(answers);
    hashes.push(states);
  }
  const first = told[0]?.findIndex((answer, index) => answer !== told[1]?.[index]) ?? -1;
  expect(told[1]?.[first]).toEqual(told[0]?.[first]);
  expect(first).toBe(-1);
  expect(hashes[1]).toEqual(hashes[0]);
  // Not all of it was refused: the comparison is of something.
  expect(told[0]?.filter((answer) => answer.includes('"changed":true')).length).toBeGreaterThan(50);
});
