import { copyFileSync, cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Environment } from '../../../runtime/journal/lmdb/environment.js';
import { openLmdbJournal } from '../../../runtime/journal/lmdb/lmdb-journal.js';
import { Log, logFiles, readLog } from '../../../runtime/journal/lmdb/log.js';
import { settleFile } from '../../../runtime/journal/lmdb/settle.js';
import type { Journal } from '../../../runtime/journal/journal.js';
import { completeOf, folder, pipelineOf, shardsOf } from '../../support/journal.js';

const textsOf = (file: string): string[] =>
  [...readLog(file)].map(({ commit, payload }) => `${String(commit)} ${payload.toString()}`);
const fileOf = (log: Log, turn: 0 | 1): string => log.files[turn] ?? '';

describe('the log', () => {
  const opened = (): Log => {
    const log = new Log(folder(), 1);
    onTestFinished(() => {
      log.close();
    });
    return log;
  };

  it('ends where a record was not written whole', () => {
    const log = opened();
    const file = fileOf(log, 0);
    for (const commit of [7, 8, 9]) log.append(commit, Buffer.from(`group ${String(commit)}`));
    const whole = readFileSync(file);
    expect(textsOf(file)).toEqual(['7 group 7', '8 group 8', '9 group 9']);
    const last = whole.indexOf('group 9');
    for (const at of [last, last - 5, last - 16]) {
      const torn = Buffer.from(whole);
      torn[at] = (torn[at] ?? 0) ^ 0xff;
      writeFileSync(file, torn);
      expect(textsOf(file)).toEqual(['7 group 7', '8 group 8']);
    }
    writeFileSync(file, whole.subarray(0, last + 3));
    expect(textsOf(file)).toEqual(['7 group 7', '8 group 8']);
  });

  it('writes over what an earlier turn left, and does not take that for its own', () => {
    const log = opened();
    for (const commit of [1, 2, 3]) log.append(commit, Buffer.from('a record'));
    expect(log.turn()).toBe(fileOf(log, 0));
    log.append(4, Buffer.from('a record'));
    expect(log.turn()).toBe(fileOf(log, 1));
    log.append(5, Buffer.from('a record'));
    expect(textsOf(fileOf(log, 0))).toEqual(['5 a record']);
    expect(textsOf(fileOf(log, 1))).toEqual(['4 a record']);
  });

  it('says that it is damaged where a record is not whole that was synced before the next one was written', () => {
    const log = opened();
    const file = fileOf(log, 0);
    for (const commit of [7, 8, 9]) log.append(commit, Buffer.from(`group ${String(commit)}`));
    const bytes = readFileSync(file);
    const at = bytes.indexOf('group 8');
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    expect(() => textsOf(file)).toThrow(
      expect.objectContaining({ code: 'PDL_JOURNAL', message: expect.stringMatching(/group 8 /) }),
    );
  });

  it('takes nothing behind a record of which nobody knows whether it is there', () => {
    const log = opened();
    log.append(1, Buffer.from('whole'));
    log.breakOff(new Error('EIO'));
    expect(() => {
      log.append(2, Buffer.from('late'));
    }).toThrow(expect.objectContaining({ code: 'PDL_JOURNAL', message: expect.stringContaining('EIO') }));
    expect(textsOf(fileOf(log, 0))).toEqual(['1 whole']);
  });

  it('grows for records larger than its steps', () => {
    const log = opened();
    const large = Buffer.alloc(1024 * 1024, 120);
    log.append(1, large);
    log.append(2, Buffer.from('small'));
    expect([...readLog(fileOf(log, 0))].map(({ payload }) => payload.length)).toEqual([large.length, 5]);
  });
});

describe('a journal whose log is not settled', () => {
  const rules = {
    retries: { limit: 0, backoff: { initialMs: 1, factor: 1, maxMs: 1 } },
    timeLimits: {},
    pendingMax: 1_000_000,
    lostLeasesMax: 1,
  };
  const at = (ms: number) => ({ ms, at: new Date(Date.UTC(2026, 0, 1) + ms).toISOString() });
  const query = {
    pipeline: 'flights',
    line: 'l',
    instance: 'i',
    max: 20,
    freshMax: 20,
    group: 'default',
    prefer: [],
    reclaim: [],
  };
  const worked = async (dir: string): Promise<Journal> => {
    const journal = openLmdbJournal({ dir });
    onTestFinished(() => journal.close());
    await journal.applyPipeline(pipelineOf(), rules, at(0));
    await journal.submit('flights', shardsOf(60), at(1));
    const { leases } = await journal.lease(query, at(2));
    for (const { shardId, epoch } of leases.slice(5)) await journal.complete('l', completeOf(shardId, epoch), at(3));
    return journal;
  };
  /** As it lies there at this moment: what a process that is killed now leaves behind. */
  const copyOf = (dir: string): string => {
    const copy = folder();
    cpSync(dir, copy, { recursive: true });
    return copy;
  };

  it('is whole when it is opened after its process died', async () => {
    const dir = folder();
    const journal = await worked(dir);
    const copy = copyOf(dir);
    const [hash, events] = [await journal.stateHash(), await journal.events(0, 1_000)];
    const again = openLmdbJournal({ dir: copy });
    onTestFinished(() => again.close());
    expect(await again.events(0, 1_000)).toEqual(events);
    expect(await again.counts('flights')).toEqual({ pending: 40, running: 5, completed: 15, failed: 0, cancelled: 0 });
    expect(await again.stateHash()).toBe(hash);
    expect((await again.lease(query, at(10))).leases.map(({ key }) => key)).toEqual(
      shardsOf(40)
        .map((_, index) => `shard-${String(index + 20)}`)
        .slice(0, 20),
    );
  });

  it('goes on behind the last group that is whole, once', async () => {
    const dir = folder();
    await worked(dir);
    const copy = copyOf(dir);
    const [file = ''] = logFiles(copy).filter((path) => [...readLog(path)].length > 0);
    const records = [...readLog(file)];
    const bytes = readFileSync(file);
    const last = records.at(-1)?.payload ?? Buffer.alloc(0);
    const at = bytes.indexOf(last) + last.length - 1;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    for (let time = 0; time < 2; time += 1) {
      const again = openLmdbJournal({ dir: copy });
      expect(await again.counts('flights')).toEqual({ pending: 40, running: 6, completed: 14, failed: 0, cancelled: 0 });
      await again.stateHash();
      await again.close();
      expect(logFiles(copy)).toEqual([]);
    }
  });

  it('is not opened when a file of its log is gone while a later one is there', async () => {
    const dir = folder();
    const journal = await worked(dir);
    const [first = ''] = logFiles(dir);
    const copy = folder();
    // As after a turn: what the first file says is settled, and said again by nobody.
    cpSync(dir, copy, { recursive: true });
    await journal.running();
    await journal.submit('flights', shardsOf(3, 'later'), at(20));
    const second = logFiles(dir).find((file) => file !== first) ?? '';
    rmSync(join(copy, basename(first)));
    copyFileSync(second, join(copy, basename(second)));
    expect(() => openLmdbJournal({ dir: copy })).toThrow(
      expect.objectContaining({ code: 'PDL_JOURNAL', message: expect.stringContaining('damaged or missing') }),
    );
  });

  it('leaves LMDB as it was when a file that is to be settled lacks what was logged', async () => {
    const dir = folder();
    await worked(dir);
    const copy = copyOf(dir);
    const [path = ''] = logFiles(copy);
    const commit = [...readLog(path)].at(-1)?.commit ?? 0;
    truncateSync(path, 300);
    const environment = new Environment(copy, '');
    onTestFinished(() => environment.close());
    const before = environment.numbers();
    expect(() => {
      settleFile(environment, { path, term: before.term, commit });
    }).toThrow(expect.objectContaining({ code: 'PDL_JOURNAL' }));
    environment.refresh();
    expect(environment.numbers()).toEqual(before);
  });

  it('passes over a group that its writer before had logged when another one had read the log', async () => {
    const dir = folder();
    const before = await worked(dir);
    const other = openLmdbJournal({ dir });
    onTestFinished(() => other.close());
    const hash = await other.stateHash();
    await expect(before.submit('flights', shardsOf(1, 'late'), at(20))).rejects.toMatchObject({ code: 'PDL_NOT_LEADER' });
    const leftBehind = join(copyOf(dir), '.');
    const again = openLmdbJournal({ dir: leftBehind });
    onTestFinished(() => again.close());
    expect(await again.stateHash()).toBe(hash);
  });
});
