/** The two ways of the bytes, each for itself: from a segment to a place and back. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { load } from '../../../runtime/checkpoints/load.js';
import { runSave, type SaveAnswer, type SaveJob } from '../../../runtime/checkpoints/save.js';

let dir: string;
let segment: string;
let copy: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'podline-copy-'));
  segment = join(dir, 'segment');
  copy = join(dir, 'copy');
});
afterEach(() => {
  rmSync(dir, { recursive: true });
});

/** No two pages alike, none of them zeros. */
function bytesOf(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 1) bytes[at] = (at * 31 + (at >> 12) * 7 + 1) & 0xff;
  return bytes;
}

/** Lengths below and above what goes the fast way, on and beside the borders of pages. */
const lengths = fc.oneof(
  fc.integer({ min: 1, max: 20_000 }),
  fc.integer({ min: 60_000, max: 300_000 }),
  fc.integer({ min: 1, max: 60 }).map((pages) => pages * 4096),
);

function saved(job: SaveJob): SaveAnswer {
  const answers: SaveAnswer[] = [];
  runSave(job, (answer) => answers.push(answer));
  expect(answers).toHaveLength(1);
  return answers[0]!;
}

describe('saving', () => {
  it('makes the copy equal the segment up to where it was asked, however often it grows, and never longer', () => {
    fc.assert(
      fc.property(
        fc.array(lengths, { minLength: 1, maxLength: 5 }),
        fc.nat({ max: 9_000 }),
        fc.boolean(),
        (grown, behind, sparse) => {
          const total = grown.reduce((sum, length) => sum + length, 0);
          const content = bytesOf(total + behind);
          writeFileSync(segment, content);
          const sourceFd = openSync(segment, 'r');
          try {
            let from = 0;
            for (const length of grown) {
              const to = from + length;
              const answer = saved({ sourceFd, target: copy, from, to, sparse, sums: [[from, length]] });
              expect(answer).toEqual({ ok: true, sums: [crc32(content.subarray(from, to))] });
              expect(readFileSync(copy).equals(content.subarray(0, to))).toBe(true);
              from = to;
            }
          } finally {
            closeSync(sourceFd);
          }
        },
      ),
      { numRuns: 40 },
    );
  });

  it('leaves whole pages of zeros of a sparse segment out, and the copy reads the same', () => {
    const content = bytesOf(40 * 4096 + 100);
    content.fill(0, 5 * 4096 - 10, 30 * 4096 + 10);
    writeFileSync(segment, content);
    const sourceFd = openSync(segment, 'r');
    expect(saved({ sourceFd, target: copy, from: 0, to: content.length, sparse: true, sums: [] }).ok).toBe(true);
    closeSync(sourceFd);
    expect(readFileSync(copy).equals(content)).toBe(true);
    expect(statSync(copy).blocks * 512).toBeLessThanOrEqual(17 * 4096);
  });

  it('refuses a segment that ends before what is committed of it, and leaves what was there', () => {
    const content = bytesOf(100_000);
    writeFileSync(segment, content);
    const sourceFd = openSync(segment, 'r');
    expect(saved({ sourceFd, target: copy, from: 0, to: 90_000, sparse: false, sums: [] }).ok).toBe(true);
    const answer = saved({ sourceFd, target: copy, from: 90_000, to: 200_000, sparse: false, sums: [] });
    closeSync(sourceFd);
    expect(answer).toMatchObject({ ok: false, message: expect.stringContaining('the segment ends at 100000') as string });
    expect(readFileSync(copy).equals(content.subarray(0, 90_000))).toBe(true);
  });
});

describe('loading', () => {
  const cases = fc.record({
    lengths: fc.array(lengths, { minLength: 1, maxLength: 6 }),
    sparse: fc.boolean(),
    behind: fc.nat({ max: 9_000 }),
  });
  function store(parts: readonly number[], behind: number): { content: Buffer; pieces: [number, number, number][] } {
    const total = parts.reduce((sum, length) => sum + length, 0);
    const stored = bytesOf(total + behind);
    writeFileSync(copy, stored);
    const content = stored.subarray(0, total);
    let at = 0;
    const pieces = parts.map((length): [number, number, number] => {
      at += length;
      return [at - length, length, crc32(content.subarray(at - length, at))];
    });
    return { content, pieces };
  }

  it('makes the segment equal what was stored, whatever lies behind it', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ lengths: parts, sparse, behind }) => {
        const { content, pieces } = store(parts, behind);
        writeFileSync(segment, '');
        await load({ source: copy, target: segment, pieces, sparse });
        expect(readFileSync(segment).equals(content)).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  it('finds out any byte that is another, and a file that is too short', async () => {
    await fc.assert(
      fc.asyncProperty(cases, fc.nat(), async ({ lengths: parts, sparse }, place) => {
        const { content, pieces } = store(parts, 0);
        const at = place % content.length;
        const file = openSync(copy, 'r+');
        writeSync(file, Buffer.from([(content[at] ?? 0) ^ 0x40]), 0, 1, at);
        closeSync(file);
        writeFileSync(segment, '');
        await expect(load({ source: copy, target: segment, pieces, sparse })).rejects.toMatchObject({
          code: 'PDL_CHECKPOINT_CORRUPT',
          message: expect.stringContaining('does not match its checksum') as string,
        });
        writeFileSync(copy, content.subarray(0, at));
        await expect(load({ source: copy, target: segment, pieces, sparse })).rejects.toThrow(/ends at byte/);
      }),
      { numRuns: 40 },
    );
  });

  it('takes files that are larger than what is on its way at once', async () => {
    const { content, pieces } = store([9 * 1024 * 1024 + 5, 4 * 1024 * 1024], 77);
    writeFileSync(segment, '');
    await load({ source: copy, target: segment, pieces, sparse: false });
    expect(readFileSync(segment).equals(content)).toBe(true);
  });
});
