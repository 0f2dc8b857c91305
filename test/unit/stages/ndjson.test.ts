/** Rows as lines of JSON, to a program and back. */
import { PassThrough, Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { column } from '../../../runtime/index.js';
import { combine } from '../../../runtime/stages/combine.js';
import { Commits } from '../../../runtime/stages/commits.js';
import { feedRows, RowIntake } from '../../../runtime/stages/ndjson.js';
import { Shard } from './shard.js';

let shard: Shard;
beforeEach(async () => {
  shard = await Shard.open();
});
afterEach(() => shard.close());

async function linesOf(stream: string): Promise<string[]> {
  const { scratch } = shard;
  const record = scratch.stream('s1', stream);
  if (record === undefined) throw new Error(`no stream ${stream}`);
  const reader = scratch.openReader('s1');
  const into = new PassThrough();
  const written = text(into);
  await feedRows('out', scratch, 's1', reader, combine('zip', [record], 'out'), into, new AbortController().signal);
  reader.close();
  return (await written).trimEnd().split('\n');
}

async function take(lines: string[]): Promise<void> {
  const run = { runId: 'take', epoch: 1 };
  await shard.scratch.beginRun('s1', 'taken', run);
  const lineage = { digest: 'x', stage: 'taken', version: 'v', parameters: '', inputs: {} };
  const intake = new RowIntake(
    'taken',
    (schema) =>
      new Commits(
        shard.scratch,
        { shardId: 's1', stream: 'taken', kind: 'table', schema, lineage, run },
        { room: () => Promise.resolve('none') },
      ),
  );
  await intake.takeAll(Readable.from([Buffer.from(lines.join('\n'))]));
  const commits = await intake.finish();
  await commits.seal();
  await commits.close();
}

describe('lists as lines of JSON', () => {
  it('go out as arrays, in the words of their items', async () => {
    await shard.load('input', {
      n: column.list('int32').from([[1, null, 3], [], null]),
      big: column.list('int64').from([[9_007_199_254_740_993n], [], []]),
      s: column.list('utf8').from([['a"', 'b'], [], ['']]),
      at: column.list('timestamp[ms]').from([[0], [], []]),
    });
    expect(await linesOf('input')).toEqual([
      '{"n":[1,null,3],"big":[9007199254740993],"s":["a\\"","b"],"at":["1970-01-01T00:00:00.000Z"]}',
      '{"n":[],"big":[],"s":[],"at":[]}',
      '{"n":null,"big":[],"s":[""],"at":[]}',
    ]);
  });

  it('come back as lists where all their items are of one kind', async () => {
    await take([
      '{"n":[],"s":["a",null],"b":[true],"mixed":[1,"a"],"deep":[[1]],"none":[]}',
      '{"n":[1,2.5],"s":null,"b":[],"mixed":[{}],"deep":[[2]],"none":[null]}',
    ]);
    expect(shard.schema('taken')).toEqual([
      'n list<float64>',
      's list<utf8>',
      'b list<bool>',
      'mixed utf8',
      'deep utf8',
      'none list<utf8>',
    ]);
    expect(shard.rows('taken')).toEqual([
      { n: [], s: ['a', null], b: [true], mixed: '[1,"a"]', deep: '[[1]]', none: [] },
      { n: [1, 2.5], s: null, b: [], mixed: '[{}]', deep: '[[2]]', none: [null] },
    ]);
  });

  it('are refused where a later line has another kind', async () => {
    await expect(take(['{"n":[1]}', '{"n":["a"]}'])).rejects.toThrow(/line 2 .*has \["a"\] as n, which was list<float64> before/);
    await expect(take(['{"n":[1]}', '{"n":1}'])).rejects.toThrow(/which was list<float64> before/);
  });
});
