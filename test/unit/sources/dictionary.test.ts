import { describe, expect, it } from 'vitest';
import { PodlineError } from '../../../runtime/contracts/errors.js';
import { GrowingDictionary } from '../../../runtime/sources/dictionary.js';

const codeOf = (dictionary: GrowingDictionary, text: string): number => {
  const bytes = Buffer.from(`<${text}>`);
  return dictionary.codeOf(bytes, 1, bytes.length - 1);
};
const textsOf = ({ offsets, values }: { offsets: Int32Array; values: Uint8Array }): string[] =>
  Array.from({ length: offsets.length - 1 }, (_, code) =>
    Buffer.from(values.subarray(offsets[code], offsets[code + 1])).toString(),
  );

describe('a dictionary that grows', () => {
  it('gives each text one code, also where far more texts come than it keeps at hand', () => {
    const dictionary = new GrowingDictionary('c');
    // Prefixes of each other, equal lengths, nothing, and more than one byte a letter.
    const texts = ['', 'ü', 'üü', ...Array.from({ length: 20_000 }, (_, n) => `text ${String(n)}`)];
    const codes = texts.map((text) => codeOf(dictionary, text));
    expect(codes).toEqual(texts.map((_, n) => n));
    for (const step of [1, 7919]) {
      const order = texts.map((_, n) => (n * step) % texts.length);
      expect(order.map((n) => codeOf(dictionary, texts[n] ?? ''))).toEqual(order);
    }
    expect(textsOf(dictionary.snapshot())).toEqual(texts);
  });

  it('keeps its snapshot until a text is new', () => {
    const dictionary = new GrowingDictionary('c');
    codeOf(dictionary, 'a');
    const first = dictionary.snapshot();
    codeOf(dictionary, 'a');
    expect(dictionary.snapshot()).toBe(first);
    codeOf(dictionary, 'b');
    expect(textsOf(dictionary.snapshot())).toEqual(['a', 'b']);
    expect(textsOf(first)).toEqual(['a']);
  });

  it('says when a column is no dictionary', () => {
    const dictionary = new GrowingDictionary('c', 2);
    codeOf(dictionary, 'a');
    codeOf(dictionary, 'b');
    expect(() => codeOf(dictionary, 'd')).toThrow(PodlineError);
    expect(codeOf(dictionary, 'b')).toBe(1);
  });
});
