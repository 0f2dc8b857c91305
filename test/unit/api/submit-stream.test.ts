import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { answerGroups, ndjsonGroups } from '../../../runtime/api/submit-stream.js';
import { PodlineError } from '../../../runtime/contracts/errors.js';
import { createCoordinator } from '../../../runtime/coordinator/coordinator.js';
import { openLmdbJournal } from '../../../runtime/journal/lmdb/lmdb-journal.js';
import { folder, pipelineOf } from '../../support/journal.js';

async function* chunksOf(text: string, size: number): AsyncGenerator<Uint8Array, void, undefined> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe('NDJSON', () => {
  it('is read the same however it is cut into chunks', async () => {
    const text = '{"a":"ü🔑"}\r\n\n  \n[1]\n"end"';
    for (let size = 1; size <= text.length + 4; size += 1)
      expect((await collect(ndjsonGroups(chunksOf(text, size), 10, 100))).flat()).toEqual([{ a: 'ü🔑' }, [1], 'end']);
  });

  it('comes in groups of bounded size, and is read only as they are taken', async () => {
    let read = 0;
    const endless = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      for (;;) {
        read += 1;
        yield Buffer.from('1\n'.repeat(100));
      }
    };
    const groups = ndjsonGroups(endless(), 40, 100);
    const sizes: number[] = [];
    for await (const group of groups) {
      sizes.push(group.length);
      if (sizes.length === 7) break;
    }
    expect(sizes).toEqual([40, 40, 20, 40, 40, 20, 40]);
    expect(read).toBe(3);
  });

  it('with a long line that comes in small pieces is copied a bounded number of times', async () => {
    const rooms = vi.spyOn(Buffer, 'allocUnsafeSlow');
    onTestFinished(() => {
      rooms.mockRestore();
    });
    const value = 'x'.repeat(1_000_000);
    const text = `${JSON.stringify(value)}\n${JSON.stringify(value)}\n"end"`;
    expect((await collect(ndjsonGroups(chunksOf(text, 100), 10, 2_000_000))).flat()).toEqual([value, value, 'end']);
    // Room that doubles from 100 bytes to a million, for each of the two.
    expect(rooms.mock.calls.length).toBeLessThan(2 * 20);
  });

  it('with a line that is no JSON goes on behind it, and names it', async () => {
    const [first, torn, last] = (await collect(ndjsonGroups(chunksOf('1\n{"a\n2\n', 3), 10, 100))).flat();
    expect([first, last]).toEqual([1, 2]);
    expect(torn).toBeInstanceOf(PodlineError);
    expect(torn).toMatchObject({ code: 'PDL_REQUEST_INVALID', place: 'line 2' });
  });

  it('with an endless line is refused instead of held', async () => {
    const endless = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      for (;;) yield Buffer.alloc(64, 120);
    };
    await expect(collect(ndjsonGroups(endless(), 10, 1_000))).rejects.toMatchObject({
      code: 'PDL_REQUEST_INVALID',
      place: 'line 1',
    });
  });
});

describe('a stream of submissions', () => {
  it('is read no further than its answers are taken', async () => {
    const journal = openLmdbJournal({ dir: folder() });
    const coordinator = await createCoordinator({ journal });
    onTestFinished(async () => {
      await coordinator.close();
      await journal.close();
    });
    await coordinator.applyPipeline(pipelineOf());
    let made = 0;
    const lines = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      for (;;) {
        made += 1;
        yield Buffer.from(
          `${JSON.stringify({ key: `k${String(made)}`, source: { inline: 'x'.repeat(1_000), format: 'csv' } })}\n`,
        );
      }
    };
    const answers = answerGroups(coordinator, 'flights', ndjsonGroups(lines(), 16, 10_000));
    for (let taken = 1; taken <= 50; taken += 1) {
      expect((await answers.next()).value).toMatchObject([{ outcome: 'accepted', key: `k${String(taken)}` }]);
      expect(made).toBe(taken);
    }
    await answers.return();
    expect((await coordinator.progress('flights')).pending).toBe(50);
  });
});
