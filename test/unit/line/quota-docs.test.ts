import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { parseAmounts } from '../../../runtime/line/quantity.js';
import { planLinesMax } from '../../../runtime/line/quota.js';

const page = readFileSync(new URL('../../../docs/quota-and-scaling.md', import.meta.url), 'utf8');

it('computes the example of docs/quota-and-scaling.md as it stands there', () => {
  const rows = [...page.matchAll(/^\| (memory|cpu) +\| (\S+) +\| (\S+) +\| (\S+) +\| (\d+) +\|$/gm)];
  expect(rows).toHaveLength(2);
  const column = (at: number): Record<string, string> => Object.fromEntries(rows.map((row) => [row[1] ?? '', row[at] ?? '']));
  const { linesMax, because, terms } = planLinesMax({
    perLine: parseAmounts(column(4)),
    quotas: [{ name: 'ResourceQuota team-a', hard: parseAmounts(column(2)), usedByOthers: parseAmounts(column(3)) }],
  });
  expect(Object.fromEntries(terms.map(({ resource, lines }) => [resource, String(lines)]))).toEqual(column(5));
  expect(page).toContain(`W_max is ${String(linesMax)} ${because}.`);
});
