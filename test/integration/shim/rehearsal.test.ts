/** What a slot does for itself while it waits for its first run, and what it must leave alone. */
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ResolvedStage } from '../../../runtime/contracts/manifest.js';
import { entryPath } from '../../../runtime/platform/entries.js';
import { hostOf, type HostSetup, type StageHost } from '../../../runtime/stages/host.js';
import { FakeAgent, stageOf, type ShimProcess } from '../../support/shim-agent.js';

const shimCommand = [process.execPath, entryPath('sidecars/shim/main')];
const api = pathToFileURL(entryPath('runtime/index')).href;
const never = new AbortController().signal;

let agent: FakeAgent;
let host: StageHost | undefined;
beforeEach(async () => {
  agent = await FakeAgent.start();
});
afterEach(async () => {
  await host?.close();
  host = undefined;
  await agent.close();
});

const forms = {
  bytes: 'bytes: (chunk) => chunk',
  block: 'block: () => ({})',
  row: 'row: () => true',
  aggregate: 'output: { n: "float64" }, aggregate: { start: () => 0, add: () => 0, merge: () => 0, finish: () => ({ n: [0] }) }',
  files: 'files: () => ({})',
};
type Form = keyof typeof forms;

/** The host of a stage of that form. */
async function loaded(form: Form, over: Partial<ResolvedStage> = {}): Promise<{ host: StageHost; setup: HostSetup }> {
  await writeFile(
    join(agent.dir, 'work.mjs'),
    `import { defineStage } from '${api}';\nexport default defineStage({ ${forms[form]} });`,
  );
  const stage = stageOf('work', { module: 'work.mjs', declares: { form, keep: 'none' }, ...over });
  const { scratch } = agent.welcome(stage);
  const setup: HostSetup = {
    stage,
    workers: 2,
    stagesDir: agent.dir,
    scratch: { ...scratch, role: 'stage' },
    runsDir: join(scratch.dir, 'runs', '0-work'),
  };
  host = await hostOf(setup);
  await host.load();
  return { host, setup };
}

describe.each(['bytes', 'block', 'row', 'aggregate'] as const)('a stage of the form %s', (form) => {
  it.each([
    ['in the thread of the slot', { workers: 1 }, 3],
    ['that may have threads later', { workers: 'auto' }, 3],
    ['with two threads', { workers: 2 }, 9],
    ['with a thread for its limit', { workers: 1, resources: { memory: '256Mi' } }, 6],
  ] as [string, Partial<ResolvedStage>, number][])(
    '%s is rehearsed in every thread, and nothing is left',
    async (_, over, runs) => {
      const { host, setup } = await loaded(form, over);
      expect(await host.rehearse?.(never)).toBe(runs);
      await expect(stat(setup.runsDir)).rejects.toThrow('ENOENT');
    },
  );
});

it('clears away what a process left that was ended in the middle', async () => {
  const { host, setup } = await loaded('bytes');
  const index = join(setup.runsDir, 'slot', 'scratch', 'index');
  await mkdir(index, { recursive: true });
  await writeFile(join(index, 'data.mdb'), 'half');
  expect(await host.rehearse?.(never)).toBe(3);
  await expect(stat(setup.runsDir)).rejects.toThrow('ENOENT');
});

it('ends where it is no longer wanted', async () => {
  const { host, setup } = await loaded('row');
  expect(await host.rehearse?.(AbortSignal.abort())).toBe(0);
  await expect(stat(setup.runsDir)).rejects.toThrow('ENOENT');
});

it('is none for the form files', async () => {
  const { host } = await loaded('files');
  expect(await host.rehearse?.(never)).toBe(0);
});

describe('a slot that waits', () => {
  async function put(over: Partial<ResolvedStage>): Promise<ShimProcess> {
    const file = JSON.stringify(join(agent.dir, 'called'));
    await writeFile(
      join(agent.dir, 'work.mjs'),
      `import { appendFileSync } from 'node:fs';
       import { defineStage } from ${JSON.stringify(api)};
       export default defineStage({ bytes(chunk) { appendFileSync(${file}, 'x'); return chunk; } });`,
    );
    const stage = stageOf('work', { module: 'work.mjs', declares: { form: 'bytes', keep: 'none' }, ...over });
    return agent.put(shimCommand, stage, { env: { PODLINE_LOG_LEVEL: 'debug' } });
  }
  const run = async (shim: ShimProcess): Promise<void> => {
    await agent.bytes('input', [Buffer.from('one'), Buffer.from('two')]);
    expect(await agent.run(shim, 'work')).toMatchObject({ outcome: 'committed', blocks: 2 });
    expect((await stat(join(agent.dir, 'called'))).size).toBe(2);
  };

  it.each([
    ['in one thread', {}, 3],
    ['in two', { workers: 2 }, 9],
  ] as [string, Partial<ResolvedStage>, number][])(
    'rehearses once, without its stage, and works then, %s',
    async (_, over, runs) => {
      const shim = await put(over);
      await expect.poll(() => shim.stderr, { timeout: 60_000 }).toContain(`"runs":${runs}`);
      await expect(stat(join(agent.dir, 'called'))).rejects.toThrow('ENOENT');
      await run(shim);
      expect(shim.stderr.match(/"rehearsed"/g)).toHaveLength(1);
      expect(agent.said.filter(({ type }) => type === 'ended')).toHaveLength(1);
    },
  );

  it('works although it could not rehearse, and says so', async () => {
    await writeFile(join(agent.dir, 'scratch', 'runs'), 'in the way');
    const shim = await put({});
    await expect.poll(() => shim.stderr, { timeout: 60_000 }).toContain('the rehearsal failed');
    await run(shim);
  });
});
