/** A coordinator of its own that tells another autoscaler how many lines there may be: by a command, and by a webhook. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { isSigned, type SignedHeaders } from '../../../runtime/access/signature.js';
import { PodlineClient } from '../../../runtime/api/client.js';
import type { Ceiling } from '../../../runtime/contracts/capacity.js';
import { hearingServer } from '../../support/autoscaler.js';
import { folder } from '../../support/journal.js';
import { serving, type Served } from '../../support/serving.js';
import { until } from '../../support/until.js';

const stage = `
import { defineStage } from 'podline';
export default defineStage({ input: { delay: 'int64' }, output: {}, block: () => ({ columns: {} }) });
`;
const manifest = `apiVersion: podline.dev/v1alpha1
kind: Pipeline
metadata: { name: late }
spec:
  input: { format: ndjson, columns: { delay: int64 } }
  slots: 1
  quota: { nvidia.com/gpu: 3 }
  resources: { devices: { nvidia.com/gpu: 1 } }
  scaling: { shardsPerLine: 4 }
  stages: [{ name: late, uses: ./late.ts }]
  result: { dir: ./results, format: ndjson }
`;

/** With one pipeline that has one line, and whose quota has room for three. */
async function servingLate(dir: string, config: string): Promise<Served> {
  writeFileSync(join(dir, 'late.ts'), stage);
  writeFileSync(join(dir, 'pipeline.yaml'), manifest);
  return serving(dir, `listen: { port: 0 }\ndriver: local\npipelines: [{ manifest: pipeline.yaml }]\n${config}`);
}

/** Another quota for it, as somebody would who applies a new revision. */
async function setQuota(server: Served, devices: number): Promise<void> {
  const client = PodlineClient.connect(server.url, server.operator);
  onTestFinished(() => client.close());
  const { pipeline } = await client.pipeline('late');
  if (pipeline === undefined) throw new Error('it has no manifest');
  await client.applyPipeline({ ...pipeline, spec: { ...pipeline.spec, quota: { 'nvidia.com/gpu': devices } } });
}

describe('a coordinator of its own', () => {
  it('tells a command how many lines there may be, at the start and at each change', async () => {
    const dir = folder();
    const told = join(dir, 'told');
    writeFileSync(join(dir, 'tell'), `#!/bin/sh\necho "$PODLINE_PIPELINE $PODLINE_LINES_MAX $1 $(cat)" >> ${told}\n`);
    chmodSync(join(dir, 'tell'), 0o755);
    const server = await servingLate(dir, 'autoscaler: { command: [./tell, mine] }\n');
    const lines = (): string[] => (existsSync(told) ? readFileSync(told, 'utf8').trim().split('\n') : []);
    await until(() => lines().length === 1);
    expect(lines()[0]).toMatch(/^late 3 mine \{"pipeline":"late","group":"default",.*"shardsPerLine":4,/);
    await setQuota(server, 5);
    await until(() => lines().length === 2);
    expect(lines()[1]).toContain('late 5 mine {');
    expect(await server.stop()).toBe(0);
  });

  it('tells a webhook, signed, and again until it is taken', async () => {
    const dir = folder();
    const secret = 'a secret of more than 24 characters';
    writeFileSync(join(dir, 'secret'), `${secret}\n`);
    const { url, heard, answer } = await hearingServer();
    answer(503);
    const server = await servingLate(
      dir,
      `autoscaler: { webhook: { url: '${url}' } }\nwebhooks: { hosts: [127.0.0.1], schemes: [http], privateAddresses: true, secret: secret }\n`,
    );
    await until(() => server.log().includes('the autoscaler answered 503'));
    answer(204);
    await until(() => server.log().includes('the autoscaler was told the ceiling'));
    const ceilings = heard.map(({ body }) => JSON.parse(body) as Ceiling & { type: string });
    expect(ceilings.length).toBeGreaterThan(1);
    expect(ceilings.at(-1)).toMatchObject({ type: 'lines.ceiling', pipeline: 'late', workload: 'late', linesMax: 3 });
    for (const { headers, body } of heard) {
      const signed = headers as unknown as SignedHeaders;
      expect(isSigned(secret, signed, body, Date.now() / 1_000)).toBe(true);
      expect(isSigned(`${secret}!`, signed, body, Date.now() / 1_000)).toBe(false);
    }
    expect(server.log()).not.toContain(secret);
    expect(await server.stop()).toBe(0);
  });
});
