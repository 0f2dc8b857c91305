import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { renewedToken } from '../../../runtime/platform/read-env.js';

const minuteMs = 60_000;
const tokenUntil = (wallMs: number): string =>
  `head.${Buffer.from(JSON.stringify({ exp: wallMs / 1_000 })).toString('base64url')}.sign`;

let dir: string;
let file: string;
let nowMs: number;
const tokenOf = (): (() => string) =>
  renewedToken(
    file,
    () => nowMs,
    () => nowMs,
  );

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'podline-token-'));
  file = join(dir, 'token');
  nowMs = 0;
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

describe('a token in a file that is renewed', () => {
  it('is read again from time to time where it does not say how long it lasts', () => {
    writeFileSync(file, 'one\n');
    const token = tokenOf();
    writeFileSync(file, 'two\n');
    expect(token()).toBe('one');
    nowMs += minuteMs;
    expect(token()).toBe('two');
  });

  it('is used until it is about to end, whatever is in the file: whoever knows it need not ask about another one', () => {
    const [one, two] = [tokenUntil(60 * minuteMs), tokenUntil(100 * minuteMs)];
    writeFileSync(file, one);
    const token = tokenOf();
    writeFileSync(file, two);
    nowMs = 54 * minuteMs;
    expect(token()).toBe(one);
    nowMs = 56 * minuteMs;
    expect(token()).toBe(two);
  });

  it('stays as it was while there is no file', () => {
    writeFileSync(file, 'one');
    const token = tokenOf();
    rmSync(file);
    nowMs += minuteMs;
    expect(token()).toBe('one');
  });
});
