import { expect, it } from 'vitest';
import type { BlockRecord, SegmentRecord } from '../../../runtime/contracts/block.js';
import { wholeBytesSegment } from '../../../runtime/stages/command-files.js';

const segment: SegmentRecord = {
  id: 'a.0',
  stream: 'a',
  path: '/nowhere/a.0',
  medium: 'memory',
  committedBytes: 30,
  ended: false,
};
const block = (offset: number, length: number, of = 'a.0'): BlockRecord => ({
  seq: 0,
  rows: 0,
  columns: [],
  payload: { segment: of, offset, length },
});

it('a segment is the stream where its payloads follow each other from its first byte to its last', () => {
  expect(wholeBytesSegment([segment], 'a', [block(0, 10), block(0, 0, ''), block(10, 20)])).toBe(segment);
});

it.each([
  ['in another order', [block(10, 20), block(0, 10)]],
  ['one of them twice', [block(0, 10), block(0, 10), block(10, 20)]],
  ['one of them left out', [block(0, 10)]],
  ['padded', [block(0, 8), block(10, 20)]],
  ['spread over segments', [block(0, 10), block(0, 20, 'a.1')]],
])('and not where they are %s', (_how, blocks) => {
  expect(wholeBytesSegment([segment], 'a', blocks)).toBeUndefined();
});

it('and not where another stream wrote it', () => {
  expect(wholeBytesSegment([segment], 'b', [block(0, 30)])).toBeUndefined();
});
