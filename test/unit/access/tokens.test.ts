import { describe, expect, it } from 'vitest';
import { LineTokens } from '../../../runtime/access/line-tokens.js';
import { Rates, takeToken } from '../../../runtime/access/rate.js';
import { TokenGate, anyGate, hashOfToken, operatorGate } from '../../../runtime/access/tokens.js';
import type { TokenEntry } from '../../../runtime/contracts/access.js';

const entry = (token: string, more: Partial<TokenEntry> = {}): TokenEntry => ({
  name: token,
  sha256: hashOfToken(token),
  scopes: ['submit', 'read'],
  pipelines: ['*'],
  ...more,
});

describe('tokens of a file', () => {
  it('are known by their hash until they end or are taken out', () => {
    let wallMs = Date.parse('2026-01-01T00:00:00Z');
    const gate = new TokenGate([entry('a'), entry('b', { expiresAt: '2026-01-02T00:00:00Z' })], () => wallMs);
    expect(gate.identify('a')?.name).toBe('a');
    expect(gate.identify('b')?.name).toBe('b');
    expect(gate.identify(hashOfToken('a'))).toBeUndefined();
    wallMs += 86_400_000;
    expect(gate.identify('b')).toBeUndefined();
    gate.replace([entry('c')]);
    expect(gate.identify('a')).toBeUndefined();
    expect(gate.identify('c')?.name).toBe('c');
  });

  it('allow their scopes on their pipelines, and nothing on all of them unless it is said', () => {
    const gate = new TokenGate([entry('some', { pipelines: ['flights', 'etl-*'] }), entry('all')], () => 0);
    const [some, all] = [gate.identify('some'), gate.identify('all')];
    expect(some?.may({ scope: 'read', pipeline: 'flights' })).toBe(true);
    expect(some?.may({ scope: 'read', pipeline: 'etl-daily' })).toBe(true);
    expect(some?.may({ scope: 'read', pipeline: 'flights-2' })).toBe(false);
    expect(some?.may({ scope: 'read' })).toBe(false);
    expect(some?.may({ scope: 'operate', pipeline: 'flights' })).toBe(false);
    expect(all?.may({ scope: 'read' })).toBe(true);
    expect(all?.may({ scope: 'line', line: 'line-0' })).toBe(false);
  });

  it('are asked for one gate after another, also where one has to wait', async () => {
    const slow = { identify: async (token: string) => operatorGate('slow', 'slow').identify(token) };
    const gate = anyGate([operatorGate('fast', 'fast'), slow, operatorGate('last', 'last')]);
    expect(gate.identify('fast')).toMatchObject({ name: 'fast' });
    expect(await gate.identify('slow')).toMatchObject({ name: 'slow' });
    expect(await gate.identify('last')).toMatchObject({ name: 'last' });
    expect(await gate.identify('none')).toBeUndefined();
  });
});

describe('the token of a line', () => {
  const tokens = new LineTokens(Buffer.alloc(32, 1));

  it('speaks for its line of its pipeline, and for no other', () => {
    const caller = tokens.identify(tokens.issue('flights', 'flights-0'));
    expect(caller).toMatchObject({ kind: 'line', name: 'line flights-0' });
    expect(caller?.may({ scope: 'line', line: 'flights-0' })).toBe(true);
    expect(caller?.may({ scope: 'line', line: 'flights-0', pipeline: 'flights' })).toBe(true);
    expect(caller?.may({ scope: 'line', line: 'flights-0', pipeline: 'others' })).toBe(false);
    expect(caller?.may({ scope: 'line', line: 'flights-1' })).toBe(false);
    expect(caller?.may({ scope: 'read', pipeline: 'flights' })).toBe(false);
    expect(tokens.identify(tokens.issue('flights', 'flights-0'))).toBe(caller);
  });

  it('is refused with another name, a changed or missing mac, or of another coordinator', () => {
    const [prefix, pipeline, line, mac] = tokens.issue('flights', 'flights-0').split('.');
    const other = Buffer.from('flights-1').toString('base64url');
    for (const forged of [
      [prefix, pipeline, other, mac],
      [prefix, other, line, mac],
      [prefix, pipeline, line, `${String(mac).slice(0, -2)}AA`],
      [prefix, pipeline, line, ''],
      [prefix, pipeline, line],
      [prefix, pipeline, line, mac, 'more'],
      [prefix],
    ])
      expect(tokens.identify(forged.join('.')), forged.join('.')).toBeUndefined();
    expect(tokens.identify(new LineTokens(Buffer.alloc(32, 2)).issue('flights', 'flights-0'))).toBeUndefined();
    expect(() => new LineTokens(Buffer.alloc(8))).toThrow(/at least 32/);
  });
});

describe('a rate', () => {
  it('lets through so many at once, then one after another, and says how long to wait', () => {
    const rate = { ratePerSecond: 10, burstMs: 500 };
    let bucket = takeToken(undefined, rate, 0).bucket;
    for (let taken = 1; taken < 5; taken += 1) {
      const next = takeToken(bucket, rate, 0);
      expect(next.waitMs).toBe(0);
      bucket = next.bucket;
    }
    expect(takeToken(bucket, rate, 0).waitMs).toBe(100);
    expect(takeToken(bucket, rate, 60).waitMs).toBe(40);
    expect(takeToken(bucket, rate, 100).waitMs).toBe(0);
    // Time that goes back is no time.
    expect(takeToken(bucket, rate, -1_000).waitMs).toBe(100);
  });

  it('is counted for each caller, and forgotten for the one that was away longest', () => {
    const rates = new Rates(() => 0, 1_000, 2);
    expect([rates.take('a', 1), rates.take('a', 1), rates.take('b', 1)]).toEqual([0, 1_000, 0]);
    expect(rates.take('c', 1)).toBe(0);
    expect(rates.take('b', 1)).toBe(1_000);
    expect(rates.take('a', 1)).toBe(0);
  });
});
