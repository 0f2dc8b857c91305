/** Stages that misbehave on one shard of four: that one fails with its reason, the others are done, the line lives. */
import { expect, it } from 'vitest';
import { Bench } from '../../support/podline.js';
import { adding, csvInput, deeds, impatient, rowsCsv, testEnv } from '../../support/deeds.js';

interface Case {
  what: string;
  first: string;
  stage: Record<string, unknown>;
  codes: string[];
  words: RegExp;
  /** Whether the shim outlives it. */
  shimLives: boolean;
}

const cases: Case[] = [
  {
    what: 'hangs in its own thread',
    first: deeds.hangOdd,
    stage: { workers: 1, timeout: '700ms' },
    codes: ['PDL_STAGE_TIMEOUT'],
    words: /700 ms|time/,
    shimLives: false,
  },
  {
    what: 'hangs in worker threads',
    first: deeds.hangOdd,
    stage: { workers: 2, timeout: '700ms' },
    codes: ['PDL_STAGE_TIMEOUT'],
    words: /700 ms|time/,
    shimLives: false,
  },
  {
    what: 'leaks memory in a thread',
    first: deeds.leakOdd,
    stage: { workers: 1, resources: { memory: '48Mi' } },
    codes: ['PDL_STAGE_MEMORY'],
    words: /memory/,
    shimLives: true,
  },
  {
    what: 'leaks memory in a process',
    first: deeds.leakOdd,
    stage: { workers: 1, executor: 'process', resources: { memory: '64Mi' } },
    codes: ['PDL_STAGE_MEMORY'],
    words: /memory/,
    shimLives: true,
  },
  {
    what: 'crashes the process of the slot',
    first: deeds.crashOdd,
    stage: { workers: 1 },
    codes: ['PDL_STAGE_DIED'],
    words: /shim of slot/,
    shimLives: false,
  },
  {
    what: 'crashes a process of its own',
    first: deeds.crashOdd,
    stage: { workers: 1, executor: 'process' },
    codes: ['PDL_STAGE_DIED'],
    words: /SIGSEGV/,
    shimLives: true,
  },
  {
    what: 'aborts a process of its own',
    first: deeds.abortOdd,
    stage: { workers: 1, executor: 'process' },
    codes: ['PDL_STAGE_DIED'],
    words: /SIGABRT/,
    shimLives: true,
  },
];

for (const { what, first, stage, codes, words, shimLives } of cases) {
  it(`a stage that ${what} fails its shard and no other`, async () => {
    const bench = Bench.make();
    bench.file('rows.csv', rowsCsv(400));
    bench.file('bad.mjs', adding('bad', 1, first));
    bench.file('good.mjs', adding('good', 2));
    bench.pipeline('faulty', {
      ...impatient,
      input: csvInput(100),
      slots: 2,
      stages: [
        { name: 'bad', uses: './bad.mjs', retries: 1, ...stage },
        { name: 'good', after: ['bad'], uses: './good.mjs', workers: 1 },
      ],
    });
    const summary = await bench.run({ env: testEnv(bench), code: 1 });
    expect(summary.shards).toMatchObject({ completed: 3, failed: 1 });
    expect(summary.failures).toHaveLength(1);
    expect(codes).toContain(summary.failures[0]?.code);
    const { shards, events } = await bench.journal();
    const failed = shards.find(({ state }) => state === 'failed');
    expect(failed?.key).toMatch(/1$/);
    expect(failed?.error?.message).toMatch(words);
    const tries = events.filter(
      ({ type, shardId, data }) => type === 'stage.started' && shardId === failed?.id && data['stage'] === 'bad',
    );
    expect(tries).toHaveLength(2);
    expect(events.filter(({ type }) => type === 'line.joined')).toHaveLength(1);
    expect(events.some(({ type, data }) => type === 'slot.lost' && data['stage'] === 'bad')).toBe(!shimLives);
  });
}
