import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatBytes,
  formatCount,
  formatDuration,
  parseBytes,
  parseDurationMs,
  parseQuantity,
} from '../../../runtime/config/units.js';

describe('durations', () => {
  it.each([
    ['250ms', 250],
    ['90s', 90_000],
    ['1.5m', 90_000],
    ['2h', 7_200_000],
    ['1d', 86_400_000],
  ])('reads %s', (text, ms) => {
    expect(parseDurationMs(text)).toBe(ms);
  });

  it.each(['', '5', 's', '-1s', '1 s', '1w', '1e3s'])('refuses %j', (text) => {
    expect(() => parseDurationMs(text)).toThrow(/is not a duration/);
  });

  it.each([
    [0, '0 ms'],
    [0.042, '0 ms'],
    [0.4, '0.4 ms'],
    [999.4, '999 ms'],
    [999.6, '1 s'],
    [4250, '4.3 s'],
    [59_960, '1 min'],
    [95_000, '1 min 35 s'],
    [3_599_900, '1 h'],
    [7_500_000, '2 h 5 min'],
  ])('writes %d ms as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});

describe('quantities', () => {
  it.each([
    ['512Mi', 512 * 2 ** 20],
    ['2Gi', 2 ** 31],
    ['500m', 0.5],
    ['1.5', 1.5],
    ['1M', 1_000_000],
    [3, 3],
  ])('reads %s', (text, value) => {
    expect(parseQuantity(text)).toBe(value);
  });

  it.each(['5Gb', '', '-1', 'Mi', '1 Gi'])('refuses %j', (text) => {
    expect(() => parseQuantity(text)).toThrow(/is not a quantity/);
  });

  it('gives whole bytes', () => {
    expect(parseBytes('0.1Ki')).toBe(103);
  });

  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [1536, '1.5 KiB'],
    [2 ** 20 - 1, '1 MiB'],
    [268_435_456, '256 MiB'],
    [-2048, '-2 KiB'],
  ])('writes %d bytes as %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  it('writes any size in at most four digits and a unit, within 5 % of it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 52 }), (bytes) => {
        const text = formatBytes(bytes);
        const [number = '', unit = ''] = text.split(' ');
        expect(number.replace('.', '').length).toBeLessThanOrEqual(4);
        const back = Number(number) * 1024 ** ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'].indexOf(unit);
        expect(Math.abs(back - bytes)).toBeLessThanOrEqual(bytes * 0.05);
      }),
    );
  });

  it('groups counts', () => {
    expect(formatCount(3_000_000)).toBe('3,000,000');
  });
});
