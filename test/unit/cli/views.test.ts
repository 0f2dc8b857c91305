/** What people see of a run: the live view, plain lines, tables and commands to copy. */
import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { command, fromHere } from '../../../runtime/cli/hints.js';
import { renderSnapshot } from '../../../runtime/cli/live-view.js';
import type { RunSnapshot } from '../../../runtime/cli/snapshot.js';
import { alignTable } from '../../../runtime/cli/table.js';
import { standingOf, Teller } from '../../../runtime/cli/teller.js';
import { noBytes } from '../../../runtime/contracts/block.js';
import type { PodlineEvent } from '../../../runtime/contracts/events.js';

const snapshot: RunSnapshot = {
  pipeline: 'flights',
  stages: ['clean', 'join'],
  elapsedMs: 20_000,
  counts: { pending: 5, running: 1, completed: 3, failed: 1, cancelled: 0 },
  leftMs: 40_000,
  moved: { ...noBytes(), memory: { read: 2 ** 21, written: 2 ** 20 } },
  lines: [
    {
      line: 'flights-0',
      slots: [
        { slot: 0, phase: 'running', stage: 'clean', swaps: 1 },
        { slot: 1, phase: 'swapping', stage: 'join', swaps: 0 },
      ],
      shards: [
        {
          shardId: 'a-1',
          epoch: 1,
          phase: 'stages',
          stagesDone: [],
          running: [{ stage: 'clean', slot: 0, blocks: 2, blocksTotal: 5, rows: 10 }],
        },
      ],
      scratch: { usedBytes: 2 ** 20, sizeBytesMax: 2 ** 30, spilledBytes: 0, reads: 'mmap' },
    },
  ],
};

describe('the live view', () => {
  it('shows shards, slots, memory, stages and the time left', () => {
    expect(renderSnapshot(snapshot, 200, false)).toEqual([
      'flights  ████████░░░░░░░░░░░░  3 of 10 shards · 1 failed · 20 s · about 40 s left',
      '  flights-0  [clean ▶] [join …]  memory 1 MiB of 1 GiB',
      '    a-1  clean 40%  join',
      '  moved  memory 2 MiB read, 1 MiB written',
    ]);
  });

  it('says why nothing runs', () => {
    const waiting = renderSnapshot({ ...snapshot, waiting: 'It failed once and backs off.' }, 200, false);
    expect(waiting.at(-1)).toBe('  It failed once and backs off.');
    expect(renderSnapshot({ ...snapshot, lines: [] }, 200, false)).toContain('  the lines are starting');
  });

  it('counts the stages of a long graph instead of naming them', () => {
    const stages = Array.from({ length: 128 }, (_, index) => `s${String(index)}`);
    const [line] = snapshot.lines;
    if (line === undefined) throw new Error('the snapshot has a line');
    const shards = [{ shardId: 'a-1', epoch: 1, phase: 'stages' as const, stagesDone: ['s0', 's1'], running: [] }];
    expect(renderSnapshot({ ...snapshot, stages, lines: [{ ...line, shards }] }, 200, false)).toContain(
      '    a-1  2 of 128 stages',
    );
  });

  it('never draws wider than the terminal', () => {
    const plain = (text: string): string => text.replaceAll(/\u001b\[[0-9;]*m/g, '');
    for (const text of renderSnapshot(snapshot, 30, true)) expect(plain(text).length).toBeLessThanOrEqual(30);
  });
});

describe('plain lines', () => {
  const said: string[] = [];
  const out = new Writable({
    write: (chunk: Buffer, _, done) => {
      said.push(chunk.toString());
      done();
    },
  });
  const event = (type: PodlineEvent['type'], data: Record<string, unknown> = {}): PodlineEvent => ({
    id: 1,
    type,
    at: '2026-01-02T03:04:05.678Z',
    pipeline: 'flights',
    shardId: 'a-1',
    line: 'flights-0',
    data,
  });

  it('name the shard by its key once, and say what happened in words', () => {
    const teller = new Teller(out, new Map([['a-1', 'flights.parquet']]), true);
    said.length = 0;
    teller.tell(event('shard.leased', { epoch: 1 }));
    teller.tell(event('stage.completed', { stage: 'clean', rows: 1234, workMs: 56 }));
    teller.tell(event('shard.retried', { why: 'the line was lost', delayMs: 2_000 }));
    teller.tell(event('slot.swapped'));
    expect(said).toEqual([
      '03:04:05  a-1  taken up by line flights-0, flights.parquet\n',
      '03:04:05  a-1  stage clean done, 1,234 rows in 56 ms\n',
      '03:04:05  a-1  goes back into the queue, for another try in 2 s: the line was lost\n',
    ]);
  });

  it('tell only of failures where shards are many', () => {
    const teller = new Teller(out, new Map(), false);
    said.length = 0;
    teller.tell(event('stage.completed', { stage: 'clean', rows: 1, workMs: 1 }));
    teller.tell(event('shard.failed', { message: 'it is bad' }));
    expect(said).toEqual(['03:04:05  a-1  failed: it is bad\n']);
  });

  it('say where a run stands', () => {
    expect(standingOf(snapshot)).toBe('flights  4 of 10 shards done, 1 failed, after 20 s, about 40 s left; clean 40 %');
  });
});

describe('commands to copy', () => {
  it('quote what a shell would take apart', () => {
    expect(command('get', 'a b', "it's", '--work-dir', '.podline/x')).toMatch(/ get 'a b' 'it'\\''s' --work-dir \.podline\/x$/);
  });

  it('take the shorter of two paths', () => {
    expect(fromHere('/a/b/c', '/a/b')).toBe('c');
    expect(fromHere('/tmp/x', '/srv/somebody/far/away')).toBe('/tmp/x');
  });
});

it('a table has columns of one width, numbers to the right', () => {
  const rows = [
    ['stage', 'rows'],
    ['a', '1,000'],
  ];
  expect(alignTable(rows)).toEqual(['  stage   rows', '  a      1,000']);
  expect(alignTable(rows, 'left')).toEqual(['  stage  rows', '  a      1,000']);
});
