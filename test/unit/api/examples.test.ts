import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { packageRoot } from '../../../runtime/platform/entries.js';
import { apiBench, completeOne, operator } from '../../support/api.js';
import { folder, pipelineOf } from '../../support/journal.js';
import { needs } from '../../support/require.js';

const blocks = [...readFileSync(join(packageRoot, 'docs', 'api.md'), 'utf8').matchAll(/```sh\n([^]*?)```/g)].map(
  (match) => match[1] ?? '',
);

/** A shell in which a curl that is refused is told; an event stream that is cut off after a second (28) is not. */
const prelude = 'curl() { command curl --fail-with-body "$@" || { code=$?; [ $code = 28 ] || exit $code; }; echo; }\n';

needs('curl').it(
  'every example of docs/api.md does what it says',
  async () => {
    const results = folder();
    const { server, coordinator } = await apiBench({ pipelines: [pipelineOf('flights', { input: { format: 'ndjson' } })] });
    const run = (script: string): Promise<string> =>
      new Promise((resolve, reject) => {
        const env = { ...process.env, PODLINE: server.url, TOKEN: operator };
        execFile('bash', ['-c', prelude + script.replaceAll('/results/', `${results}/`)], { env }, (error, stdout) => {
          if (error === null) resolve(stdout);
          else reject(new Error(`${script}\n${stdout}`, { cause: error }));
        });
      });
    const said: string[] = [];
    for (const block of blocks) {
      if (block.includes('/result/files/')) {
        const dir = join(results, 'today', 'today');
        mkdirSync(dir, { recursive: true });
        writeFileSync(join(dir, 'out.csv'), 'abcdefghijkl');
        const sha256 = createHash('sha256').update('abcdefghijkl').digest('hex');
        await completeOne(coordinator, { dir, files: [{ name: 'out.csv', bytes: 12, sha256 }] });
      }
      said.push(await run(block));
    }
    expect(JSON.parse(said[0] ?? '')).toEqual({ outcome: 'accepted', id: 'test-0000001', key: 'today' });
    expect(JSON.parse(said[1] ?? '')).toMatchObject({ outcome: 'accepted', key: 'a' });
    expect(
      said[2]
        ?.trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { outcome: string }).outcome),
    ).toEqual(['accepted', 'rejected']);
    const all = said.join('\n');
    for (const word of [
      '"title":"A submission to flights"',
      'event: shard.submitted',
      '"state":"cancelled"',
      '"replayed":[]',
      'abcdefghij',
    ])
      expect(all).toContain(word);
    expect(all).not.toContain('abcdefghijk');
  },
  60_000,
);
