import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { errorCatalogue } from '../../runtime/contracts/errors.js';
import { packageRoot } from '../../runtime/platform/entries.js';
import { errorsDocument } from '../../scripts/documents.mjs';
import { sourceFiles } from './support/files.js';

const catalogue = 'runtime/contracts/errors.ts';
const codesIn = (text: string): string[] => text.match(/PDL_[A-Z]+(?:_[A-Z]+)*/g) ?? [];

/** A code, or the common beginning of some. */
const isKnown = (word: string): boolean =>
  Object.keys(errorCatalogue).some((code) => code === word || code.startsWith(`${word}_`));

it('every code is used somewhere', () => {
  const used = new Set(
    sourceFiles(/^(runtime|sidecars)\/.*\.ts$/).flatMap(({ path, text }) => (path === catalogue ? [] : codesIn(text))),
  );
  expect(Object.keys(errorCatalogue).filter((code) => !used.has(code))).toEqual([]);
});

it('every code that is named anywhere is in the catalogue', () => {
  const unknown = sourceFiles().flatMap(({ path, text }) =>
    codesIn(text).flatMap((code) => (isKnown(code) ? [] : [`${path}: ${code}`])),
  );
  expect([...new Set(unknown)]).toEqual([]);
});

it('docs/errors.md is what the catalogue says; `npm run generate` writes it', () => {
  expect(readFileSync(join(packageRoot, 'docs', 'errors.md'), 'utf8')).toBe(errorsDocument(errorCatalogue));
});

it('every entry names a way out', () => {
  expect(
    Object.entries(errorCatalogue)
      .filter(([, { title, hint }]) => title === '' || !hint.endsWith('.'))
      .map(([code]) => code),
  ).toEqual([]);
});
