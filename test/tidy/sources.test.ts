import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { packageRoot } from '../../runtime/platform/entries.js';
import { linesThatFit, sourceFiles } from './support/files.js';

/** A test file is a list, and may be longer. */
const linesMax = (path: string): number => (path.startsWith('test/') ? 650 : 400);
/** Written so that this file does not fit its own patterns. */
const word = (...parts: string[]): string => parts.join('');

it('nothing is left to do in a comment: what is missing is an issue', () => {
  expect(linesThatFit(sourceFiles(), new RegExp(`\\b(${word('TO', 'DO')}|${word('FIX', 'ME')}|${word('XX', 'X')})\\b`))).toEqual(
    [],
  );
});

it('a file has at most 400 lines', () => {
  const long = sourceFiles(/\.(ts|mjs|cjs)$/).filter(({ path, text }) => text.split('\n').length > linesMax(path) + 1);
  expect(long.map(({ path, text }) => `${path}: ${text.split('\n').length - 1} lines`)).toEqual([]);
});

it('a test waits for a condition, never for time', () => {
  // test/support may poll for a condition; there the pause is not what the test waits for.
  const tests = sourceFiles(/^test\/.*\.ts$/).filter(({ path }) => !/\/support\//.test(path));
  const sleeps = new RegExp(
    ['await new Promise.*setTimeout\\(', `timers/${word('pro', 'mises')}`, 'await (sleep|delay|pause)\\(\\s*\\d'].join('|'),
  );
  expect(linesThatFit(tests, sleeps)).toEqual([]);
});

it('a skipped test gives its reason, and no test stands alone', () => {
  const bare = new RegExp(`\\b(it|test|describe)\\.(${word('sk', 'ip')}|${word('on', 'ly')}|${word('to', 'do')})\\b`);
  expect(linesThatFit(sourceFiles(/^test\/.*\.ts$/), bare)).toEqual([]);
});

it('nothing names the machine that it was written on', () => {
  const paths = new RegExp(
    `(^|[\\s"'\`(=:])/(${word('ho', 'me')}|${word('Us', 'ers')}|${word('ro', 'ot')}|${word('wo', 'rk')})/[A-Za-z0-9_.-]`,
  );
  const hosts = new RegExp(`\\b[a-z0-9-]+\\.(${word('cor', 'p')}|${word('inter', 'nal')}|${word('intra', 'net')}|lan)\\b(?!\\()`);
  expect(linesThatFit(sourceFiles(), paths)).toEqual([]);
  expect(
    linesThatFit(
      sourceFiles().filter(({ path }) => !/\.ts$/.test(path)),
      hosts,
    ),
  ).toEqual([]);
});

it('the lock file names no address to download from: whoever installs has a registry of their own', () => {
  const lock = readFileSync(join(packageRoot, 'package-lock.json'), 'utf8');
  expect([...lock.matchAll(/"resolved": "([^"]+)"/g)].map((match) => match[1])).toEqual([]);
});

it('lmdb is imported in two files: the index of the scratch and the journal', () => {
  const importers = sourceFiles(/^(runtime|sidecars|benchmarks)\/.*\.ts$/).filter(({ text }) =>
    /^import (?!type\b).* from 'lmdb'/m.test(text),
  );
  expect(importers.map(({ path }) => path.replace(/[^/]+$/, '')).sort()).toEqual(['runtime/journal/lmdb/', 'runtime/scratch/']);
});
