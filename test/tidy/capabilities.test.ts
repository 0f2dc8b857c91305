import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { packageRoot } from '../../runtime/platform/entries.js';

const counts = { P: 21, Q: 9, W: 12, M: 17, C: 10, X: 12 };
const ids = Object.entries(counts).flatMap(([letter, count]) =>
  Array.from({ length: count }, (_, index) => `${letter}${index + 1}`),
);

const rows = new Map(
  [...readFileSync(join(packageRoot, 'docs', 'capabilities.md'), 'utf8').matchAll(/^\| *\**([A-Z]\d+)\** *\|(.*)$/gm)].map(
    (match) => [match[1] ?? '', match[2] ?? ''],
  ),
);

it('every capability has its row', () => {
  expect(ids.filter((id) => !rows.has(id))).toEqual([]);
  expect([...rows.keys()].filter((id) => !ids.includes(id))).toEqual([]);
});

it('every row says whether it is proved, proved in part, or open', () => {
  expect([...rows].filter(([, row]) => !/\b(proved|partly|open)\b/.test(row)).map(([id]) => id)).toEqual([]);
});

it('what is proved names a test that is there', () => {
  const broken = [...rows].flatMap(([id, row]) => {
    if (!/\b(proved|partly)\b/.test(row)) return [];
    const named = [...row.matchAll(/\btest\/[\w./-]+\.test\.ts/g)].map((match) => match[0]);
    const gone = named.filter((file) => !existsSync(join(packageRoot, file)));
    return named.length === 0 ? [`${id} names no test`] : gone.map((file) => `${id} names ${file}, which is not there`);
  });
  expect(broken).toEqual([]);
});
