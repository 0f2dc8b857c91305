import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isoMicroseconds, parseSmallDecimal, parseSmallInteger, TypeGuess } from '../../../runtime/sources/text-values.js';

const guess = (...texts: string[]): string => {
  const type = new TypeGuess();
  for (const text of texts) type.text(text);
  return type.type;
};

describe('numbers as text', () => {
  it('are read as Number reads them, to the last bit', () => {
    fc.assert(
      fc.property(
        fc.tuple(fc.boolean(), fc.stringMatching(/^\d{0,10}$/), fc.boolean(), fc.stringMatching(/^\d{0,8}$/)),
        ([isNegative, whole, hasPoint, fraction]) => {
          const text = `${isNegative ? '-' : ''}${whole}${hasPoint ? `.${fraction}` : ''}`;
          const value = parseSmallDecimal(Buffer.from(`x${text}y`), 1, 1 + text.length);
          if (value !== undefined) expect(Object.is(value, Number(text))).toBe(true);
          else expect(/\d/.test(text) && text.replace(/\D/g, '').length <= 15).toBe(false);
          const integer = parseSmallInteger(Buffer.from(text), 0, text.length);
          if (integer !== undefined) expect(Object.is(integer, Number(text))).toBe(true);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it.each(['', '-', '.', '1e5', '1 ', '0x10', '1,5', '--1', '1.2.3', '+1', 'NaN'])('leave %j to others', (text) => {
    expect(parseSmallDecimal(Buffer.from(text), 0, text.length)).toBeUndefined();
    expect(parseSmallInteger(Buffer.from(text), 0, text.length)).toBeUndefined();
  });
});

describe('times as text', () => {
  it.each([
    ['2001-02-03', Date.UTC(2001, 1, 3) * 1000],
    ['1969-12-31 23:59', -60_000_000],
    ['1970-01-01T00:00:00.1234567Z', 123_456],
    ['1969-12-31T23:59:59.999999', -1],
    ['2000-02-29T12:00:00+05:30', Date.UTC(2000, 1, 29, 6, 30) * 1000],
    ['2000-01-01 00:00:00-08', Date.UTC(2000, 0, 1, 8) * 1000],
  ])('%s is read to the microsecond', (text, micros) => {
    expect(isoMicroseconds(text)).toBe(BigInt(micros));
  });

  it.each(['2001-02-30', '2001-13-01', '2001-00-10', '2001-1-1', '01/02/2001', '2001-01-01T25:00', 'today', ''])(
    '%j is none',
    (text) => {
      expect(isoMicroseconds(text)).toBeUndefined();
    },
  );
});

describe('the type of a column of texts', () => {
  it.each([
    [['true', 'FALSE'], 'bool'],
    [['1', '-2147483648'], 'int32'],
    [['1', '2147483648'], 'int64'],
    [['9223372036854775807'], 'int64'],
    [['9223372036854775808'], 'utf8'],
    [['1', '2.5', '1e-3', '.5', '-0.0'], 'float64'],
    [['3000000000', '0.1'], 'float64'],
    [['01234'], 'utf8'],
    [['1', 'x'], 'utf8'],
    [['1', 'true'], 'utf8'],
    [['2001-01-01'], 'utf8'],
    [['1.2.3'], 'utf8'],
    [[], 'utf8'],
  ])('%j → %s', (texts, type) => {
    expect(guess(...texts)).toBe(type);
  });
});
