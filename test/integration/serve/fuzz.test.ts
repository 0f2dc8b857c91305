/**
 * The API fuzzed from its own OpenAPI document: no 5xx, no status, header, type or body that the document does not tell, nothing
 * taken that it forbids. Tested by hand are the two calls that are made to last (an event stream, a long poll for work), and, of a
 * line that is there, the order of a swap: this coordinator has no driver that could carry it out, and says so by 503. The pipeline that
 * is there is deleted by no case, so that the others reach it.
 */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { apiBench, completeOne, failOne, operator } from '../../support/api.js';
import { folder, pipelineOf } from '../../support/journal.js';
import { needs } from '../../support/require.js';

const examples = Number(process.env['PODLINE_FUZZ_EXAMPLES'] ?? '5');
const checks = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_headers_conformance',
  'response_schema_conformance',
  'negative_data_rejection',
  'unsupported_method',
  'ignored_auth',
];

/** Resolves with how many cases there were; throws with what was found. */
async function fuzz(url: string, wanted: readonly string[], parameters: Record<string, string>): Promise<number> {
  const dir = folder();
  const refusals = [400, 401, 403, 404, 405, 406, 408, 409, 412, 413, 415, 416, 422, 429, 431].map(
    (status) => `"${String(status)}"`,
  );
  const config = [
    ...(Object.keys(parameters).length === 0
      ? []
      : ['[parameters]', ...Object.entries(parameters).map(([name, value]) => `"${name}" = "${value}"`)]),
    '[checks.negative_data_rejection]',
    `expected-statuses = [${refusals.join(', ')}]`,
    '',
  ];
  writeFileSync(join(dir, 'schemathesis.toml'), config.join('\n'));
  const child = spawn(
    'schemathesis',
    [
      ...['--config-file', join(dir, 'schemathesis.toml'), 'run', `${url}/v1/openapi.json`],
      ...['--header', `Authorization: Bearer ${operator}`, '--checks', wanted.join(','), '--phases', 'examples,coverage,fuzzing'],
      ...['--max-examples', String(examples), '--continue-on-failure', '--no-color', '--warnings', 'off', '--seed', '1'],
      ...['events', 'lease', ...(Object.keys(parameters).length === 0 ? [] : ['requestSwap', 'deletePipeline'])].flatMap((id) => [
        '--exclude-operation-id',
        id,
      ]),
      ...['--request-timeout', '20', '--generation-database', 'none'],
    ],
    { cwd: dir, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  const code = await new Promise<number | null>((resolve, reject) => child.once('close', resolve).once('error', reject));
  expect(code, said).toBe(0);
  return Number(/(\d+) generated/.exec(said)?.[1]);
}

needs('schemathesis').it(
  'whatever is sent, the API answers as its document says, and never with a fault of its own',
  async () => {
    const { server, client, coordinator } = await apiBench({ bounds: { bodyTimeoutMs: 5_000 } });
    const submit = (key: string): Promise<unknown> =>
      client.submit('flights', { key, source: { uri: `/${key}`, format: 'csv' } });
    const setUp = async (): Promise<string> => {
      await client.applyPipeline(pipelineOf());
      await submit('failed');
      await failOne(coordinator);
      await submit('done');
      return completeOne(coordinator);
    };
    await setUp();
    // First anything, which deletes what it comes across; then what is there, so that more is reached than 404.
    const anything = await fuzz(server.url, checks, {});
    await client.deletePipeline('flights', { cancel: true }).catch(() => undefined);
    const id = await setUp();
    const there = await fuzz(
      server.url,
      checks.filter((check) => check !== 'negative_data_rejection'),
      {
        'path.name': 'flights',
        'path.id': id,
        'path.line': 'line-0',
      },
    );
    process.stdout.write(`${String(anything + there)} cases\n`);
    expect(Math.min(anything, there)).toBeGreaterThan(1_000);
    // What CI sets gives 10,860 of them.
    if (examples >= 60) expect(anything + there).toBeGreaterThanOrEqual(10_000);
    expect((await client.pipeline('flights')).name).toBe('flights');
  },
  900_000,
);
