import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { env } from '../../runtime/contracts/env.js';
import { packageRoot } from '../../runtime/platform/entries.js';
import { sourceFiles } from './support/files.js';

const document = readFileSync(join(packageRoot, 'docs', 'environment.md'), 'utf8');
const documented = new Set([...document.matchAll(/^\| `(PODLINE_[A-Z_]+)` +\|/gm)].map((match) => match[1] ?? ''));

it('every name of the contract is documented', () => {
  expect(Object.values(env).filter((name) => !documented.has(name))).toEqual([]);
});

it('every name that is used is documented, and every documented one is used', () => {
  const files = sourceFiles(/\.(ts|mjs|sh|py|yaml)$|^\.ci\//);
  const used = new Set(files.flatMap(({ text }) => text.match(/\bPODLINE_[A-Z]+(?:_[A-Z]+)*\b/g) ?? []));
  expect([...used].filter((name) => !documented.has(name))).toEqual([]);
  expect([...documented].filter((name) => !used.has(name))).toEqual([]);
});
