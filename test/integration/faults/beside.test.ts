/**
 * A part that fails again and again, and one beside it. Files are the gates: the failing stage is held in each of its tries while shards
 * of the other pipeline complete, and one of those is held while the other's process dies and another takes its place.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { PodlineClient } from '../../../runtime/api/client.js';
import type { PodlineEvent } from '../../../runtime/contracts/events.js';
import type { Shard } from '../../../runtime/contracts/shard.js';
import { wait } from '../../support/deeds.js';
import { folder } from '../../support/journal.js';
import { serving } from '../../support/serving.js';
import { until } from '../../support/until.js';

const tries = 4;
const shardsPerTry = 3;

/** `say` writes a line that the test reads. */
const tools = (dir: string): string => `
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { defineStage } from 'podline';
const dir = ${JSON.stringify(dir)};
const say = (file, line) => appendFileSync(dir + '/' + file, line + '\\n');
${wait}
`;
const failing = `
export default defineStage({
  async bytes(chunk, ctx) {
    say('tries', String(process.pid));
    const number = readFileSync(dir + '/tries', 'utf8').trimEnd().split('\\n').length;
    await wait('crash-' + number, ctx);
    process.kill(process.pid, 'SIGSEGV');
    for (;;);
  },
});
`;
const sound = `
export default defineStage({
  async bytes(chunk, ctx) {
    say('works', ctx.shard.key + ' ' + process.pid);
    if (ctx.shard.key.startsWith('across')) await wait('go-' + ctx.shard.key, ctx);
    return chunk;
  },
});
`;

it('a stage that crashes until its shard is a dead letter leaves the line beside it as it is', async () => {
  const dir = folder();
  mkdirSync(join(dir, 'results'));
  for (const [name, code] of Object.entries({ failing, sound })) {
    writeFileSync(join(dir, `${name}.mjs`), tools(dir) + code);
    // Two tries in each of two leases.
    const spec = {
      input: { format: 'bytes' },
      slots: 1,
      retries: { limit: 1, backoff: { initial: '10ms' } },
      stages: [{ name, uses: `./${name}.mjs`, workers: 1, retries: 1 }],
      result: { dir: './results' },
    };
    const manifest = { apiVersion: 'podline.dev/v1alpha1', kind: 'Pipeline', metadata: { name }, spec };
    writeFileSync(join(dir, `${name}.yaml`), JSON.stringify(manifest));
  }
  const pipelines = ['failing', 'sound'].map((name) => ({ manifest: `${name}.yaml`, lines: 1 }));
  const server = await serving(
    dir,
    JSON.stringify({ listen: { port: 0 }, driver: 'local', pipelines, allowed: { results: { roots: [dir] } } }),
  );
  const client = PodlineClient.connect(server.url, server.operator);
  onTestFinished(() => client.close());
  const submit = async (task: string, key: string): Promise<string> => {
    const answer = await client.request({ task, payload: key, key });
    return 'id' in answer ? answer.id : expect.fail(answer.error.message);
  };
  const said = (file: string): string[] =>
    existsSync(join(dir, file)) ? readFileSync(join(dir, file), 'utf8').trimEnd().split('\n') : [];
  const open = (gate: string): void => {
    writeFileSync(join(dir, gate), '');
  };

  const broken = await submit('failing', 'broken');
  const done: Shard[] = [];
  for (let number = 1; number <= tries; number += 1) {
    await until(() => said('tries').length === number);
    // The failing one is in the middle of a try, and stays there until these are done.
    const beside = Array.from({ length: shardsPerTry }, (_, at) => submit('sound', `beside-${String(number)}-${String(at)}`));
    for (const id of await Promise.all(beside)) done.push(await client.waitFor(id));
    expect(await client.get(broken)).toMatchObject({ state: 'running' });
    // This one is at work while the process of the failing one dies and is replaced.
    const across = `across-${String(number)}`;
    const id = await submit('sound', across);
    await until(() => said('works').some((line) => line.startsWith(`${across} `)));
    open(`crash-${String(number)}`);
    if (number < tries) await until(() => said('tries').length === number + 1);
    else expect((await client.waitFor(broken)).state).toBe('failed');
    open(`go-${across}`);
    done.push(await client.waitFor(id));
  }

  const [letter] = (await client.deadLetters('failing')).shards;
  expect(letter).toMatchObject({ key: 'broken', state: 'failed', error: { code: 'PDL_STAGE_DIED' } });
  expect(new Set(said('tries')).size).toBe(tries);
  expect(done).toHaveLength(tries * (shardsPerTry + 1));
  for (const shard of done)
    expect(shard).toMatchObject({ state: 'completed', epoch: 1, attempts: 0, report: { stages: [{ outcome: 'ran', runs: 1 }] } });
  // Each was worked on once, by the one process that was there from the first to the last.
  const works = said('works').map((line) => line.split(' '));
  expect(works.map(([key]) => key).toSorted()).toEqual(done.map(({ key }) => key).toSorted());
  expect(new Set(works.map(([, pid]) => pid)).size).toBe(1);

  const events: PodlineEvent[] = [];
  const countOf = (type: string, pipeline: string): number =>
    events.filter((event) => event.type === type && event.pipeline === pipeline).length;
  const newest = await client.lastEventId();
  for await (const event of client.events({ after: 0 })) {
    events.push(event);
    // A line tells of a lost slot beside its other words: of the last one maybe only now.
    if (event.id >= newest && countOf('slot.lost', 'failing') === tries) break;
  }
  for (const pipeline of ['failing', 'sound'])
    expect([countOf('line.joined', pipeline), countOf('line.lost', pipeline)]).toEqual([1, 0]);
  expect(countOf('slot.lost', 'sound')).toBe(0);
  expect(await server.stop()).toBe(0);
}, 120_000);
