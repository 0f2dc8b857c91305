/** What docs/connectors.md shows is what is taken. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { readRequest } from '../../../runtime/connectors/request.js';
import { completionSchema, connectorsSchema } from '../../../runtime/contracts/connectors.js';
import { packageRoot } from '../../../runtime/platform/entries.js';

const document = readFileSync(join(packageRoot, 'docs', 'connectors.md'), 'utf8');
const blocks = (language: string): string[] =>
  [...document.matchAll(new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\`$`, 'gm'))].map((match) => match[1] ?? '');

it('the configuration is one', () => {
  const [block = ''] = blocks('yaml');
  const { connectors } = parse(block) as { connectors: unknown };
  expect(connectorsSchema.parse(connectors).map(({ kind }) => kind)).toEqual(['kafka', 'rabbitmq', 'folder']);
});

it('the requests are requests, and the completion is a completion', () => {
  const [request = '', submission = '', completion = ''] = blocks('json');
  const read = (body: string) => readRequest({ body: Buffer.from(body), place: 'docs' }, undefined);
  expect(read(request)).toMatchObject({ form: 'request', pipeline: 'flights', request: { key: '2024-01' } });
  expect(read(submission)).toMatchObject({
    form: 'submission',
    pipeline: 'flights',
    submission: { key: '2024-02', priority: 2 },
  });
  const shown: unknown = JSON.parse(completion);
  expect(completionSchema.parse(shown)).toEqual(shown);
});
