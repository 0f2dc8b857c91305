/** The watched folder: the suite of all connectors, and what only a folder does. */
import { existsSync, readFileSync, readdirSync, renameSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openConnector } from '../../../runtime/connectors/open.js';
import type { Connector } from '../../../runtime/connectors/connector.js';
import { folderSchema, type Completion, type FolderConfig } from '../../../runtime/contracts/connectors.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { connectorContract, type ConnectorUnderTest, type DeadLetter } from '../../contract/connector.js';
import { Rig } from '../../support/connectors/rig.js';
import { folder } from '../../support/journal.js';
import { until } from '../../support/until.js';

const when = new Date(Date.UTC(2026, 0, 1));

/** The same name has the same content and time: it is the same file. */
function drop(dir: string, name: string, content = `{"n":"${name}"}\n`): void {
  const beside = join(dir, `.${name}.tmp`);
  writeFileSync(beside, content);
  utimesSync(beside, when, when);
  // Renamed into place, as a good program does.
  renameSync(beside, join(dir, name));
}

const readJson = <T>(path: string): T => JSON.parse(readFileSync(path, 'utf8')) as T;
const under = (dir: string, sub: string, ending: string): string[] =>
  existsSync(join(dir, sub)) ? readdirSync(join(dir, sub)).filter((name) => name.endsWith(ending) && !name.startsWith('.')) : [];

const configOf = (dir: string, more: Partial<FolderConfig> = {}): FolderConfig =>
  folderSchema.parse({ kind: 'folder', name: 'inbox', dir, pipeline: 'flights', settleMs: 5, rescanMs: 50, ...more });

async function makeFolder(): Promise<ConnectorUnderTest> {
  const dir = folder();
  return {
    config: configOf(dir),
    elsewhere: configOf(join(dir, 'nowhere')),
    send: async (...names) => {
      for (const name of names) drop(dir, `${name}.ndjson`);
    },
    nameOf: (key) => key.replace(/\.ndjson@.*$/, ''),
    completions: async () =>
      ['done', 'failed'].flatMap((sub) =>
        under(dir, sub, '.completion.json').map((name) => readJson<Completion>(join(dir, sub, name))),
      ),
    deadLetters: async () =>
      under(dir, 'refused', '.reason.json').map((name) => {
        const { code, message, place } = readJson<{ code: string; message: string; place: string }>(join(dir, 'refused', name));
        return { code, reason: message, place } satisfies DeadLetter;
      }),
    end: async () => undefined,
  };
}

connectorContract('folder', { broker: false, freezes: false, poison: false, exactlyOnce: true, headers: false }, makeFolder);

describe('a watched folder', () => {
  const open = (rig: Rig, config: FolderConfig): Connector => {
    const connector = openConnector(config, { office: rig.client, logger: silentLogger });
    onTestFinished(() => connector.close());
    return connector;
  };
  const counts = async (rig: Rig, count: number): Promise<void> => {
    await until(async () => (await rig.client.progress('flights')).pending === count);
  };

  it('takes a file out, and keeps it as it is while it is worked on', async () => {
    const [rig, dir] = [await Rig.start(), folder()];
    open(rig, configOf(dir));
    drop(dir, 'a.ndjson', 'one\n');
    await counts(rig, 1);
    // Another of the same name is another shard, and harms nothing of the first.
    drop(dir, 'a.ndjson', 'another\n');
    await counts(rig, 2);
    const { shards } = await rig.client.list('flights');
    const contents = shards.map(({ source }) => 'uri' in source && readFileSync(source.uri, 'utf8'));
    expect(contents).toEqual(['one\n', 'another\n']);
    rig.startLine();
    await until(() => under(dir, 'done', '.ndjson').length === 2);
    expect(
      under(dir, 'done', '.ndjson')
        .map((name) => readFileSync(join(dir, 'done', name), 'utf8'))
        .sort(),
    ).toEqual(['another\n', 'one\n']);
    expect(readdirSync(join(dir, '.taken'))).toEqual([]);
  });

  it('waits while a file grows, and passes over names of unfinished files', async () => {
    const [rig, dir] = [await Rig.start(), folder()];
    writeFileSync(join(dir, 'slow.ndjson'), '1\n');
    writeFileSync(join(dir, 'other.ndjson.part'), '1\n');
    // It is looked at with every rescan; as long as each look finds another file, it is not taken.
    const connector = open(rig, configOf(dir, { settleMs: 100, rescanMs: 10 }));
    await until(() => connector.view().state === 'running');
    for (let grown = 0; grown < 30; grown += 1) {
      writeFileSync(join(dir, 'slow.ndjson'), `${'1'.repeat(grown + 2)}\n`);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await counts(rig, 1);
    const [shard] = (await rig.client.list('flights')).shards;
    expect(shard !== undefined && 'uri' in shard.source && readFileSync(shard.source.uri, 'utf8')).toBe(`${'1'.repeat(31)}\n`);
    renameSync(join(dir, 'other.ndjson.part'), join(dir, 'other.ndjson'));
    await counts(rig, 2);
  });

  it('goes on with what was taken and never came to the journal', async () => {
    const [rig, dir] = [await Rig.start(), folder()];
    drop(dir, 'a.ndjson');
    const first = open(rig, configOf(dir));
    await counts(rig, 1);
    await first.close();
    // A journal that knows nothing of it: as after a death between the rename and the submission.
    const other = await Rig.start();
    open(other, configOf(dir));
    await counts(other, 1);
  });

  it('follows no links', async () => {
    const [rig, dir, outside] = [await Rig.start(), folder(), folder()];
    writeFileSync(join(outside, 'secret.ndjson'), 'secret');
    symlinkSync(join(outside, 'secret.ndjson'), join(dir, 'a.ndjson'));
    symlinkSync(outside, join(dir, 'b'));
    open(rig, configOf(dir));
    drop(dir, 'c.ndjson');
    await counts(rig, 1);
    expect((await rig.keys())[0]).toMatch(/^c\.ndjson@/);
    expect(readdirSync(dir)).toEqual(expect.arrayContaining(['a.ndjson', 'b']));
  });

  it('puts aside what the coordinator refuses for good, with the reason', async () => {
    const [rig, dir] = [await Rig.start(), folder()];
    await rig.needParameter();
    open(rig, configOf(dir));
    drop(dir, 'a.ndjson');
    const [reason] = await until(() => {
      const found = under(dir, 'refused', '.reason.json');
      return found.length > 0 && existsSync(join(dir, 'refused', 'a.ndjson')) && found;
    });
    expect(readJson(join(dir, 'refused', reason ?? ''))).toMatchObject({ code: 'PDL_PARAMETER_INVALID' });
  });

  it('that is only read stays as it is', async () => {
    const [rig, dir] = [await Rig.start(), folder()];
    drop(dir, 'a.ndjson');
    const first = open(rig, configOf(dir, { after: 'leave' }));
    await counts(rig, 1);
    drop(dir, 'a.ndjson', 'other content\n');
    await counts(rig, 2);
    await first.close();
    const second = open(rig, configOf(dir, { after: 'leave' }));
    drop(dir, 'b.ndjson');
    await counts(rig, 3);
    expect(readdirSync(dir)).toEqual(['a.ndjson', 'b.ndjson']);
    await until(() => second.view().taken === 1);
  });

  it('takes two thousand files that come at once, a few hundred at a time', async () => {
    const [rig, dir] = [await Rig.start(), folder()];
    rig.startLine();
    const connector = open(rig, configOf(dir));
    for (let index = 0; index < 2_000; index += 1) writeFileSync(join(dir, `f${index}.ndjson`), '{}\n');
    await until(() => connector.view().published === 2_000);
    expect(await rig.client.progress('flights')).toMatchObject({ completed: 2_000, failed: 0 });
    expect(under(dir, 'done', '.ndjson')).toHaveLength(2_000);
    expect(under(dir, 'done', '.completion.json')).toHaveLength(2_000);
  }, 90_000);
});
