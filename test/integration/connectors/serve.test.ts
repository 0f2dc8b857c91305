/** A coordinator as it is served, with a connector of its configuration: a file that is dropped is taken, whole and with its result. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { readServerConfig } from '../../../runtime/config/server-config.js';
import { completionSchema } from '../../../runtime/contracts/connectors.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { serve } from '../../../runtime/serve/serve.js';
import { folder } from '../../support/journal.js';
import { until } from '../../support/until.js';

const manifest = `
apiVersion: podline.dev/v1alpha1
kind: Pipeline
metadata: { name: copies }
spec:
  input: { format: bytes }
  stages:
    - { name: copy, uses: ./copy.ts }
  result: { dir: ./results }
`;
const stage = `
import { defineStage } from 'podline';
export default defineStage({ bytes: (chunk: Uint8Array) => chunk });
`;
const configOf = (dir: string): string => `
driver: local
listen: { port: 0 }
pipelines: [{ manifest: pipeline.yaml, lines: 1 }]
allowed: { sources: { roots: ['${dir}'] }, results: { roots: ['${dir}'] } }
connectors:
  - { kind: folder, name: inbox, dir: inbox, pipeline: copies, settleMs: 10 }
`;

it('a file that is dropped goes through the lines, and its completion lies beside it', async () => {
  const dir = folder();
  mkdirSync(join(dir, 'inbox'));
  writeFileSync(join(dir, 'pipeline.yaml'), manifest);
  writeFileSync(join(dir, 'copy.ts'), stage);
  writeFileSync(join(dir, 'server.yaml'), configOf(dir));
  writeFileSync(join(dir, 'inbox', 'a.bin'), 'some bytes');
  const served = await serve(await readServerConfig(join(dir, 'server.yaml'), {}, dir), silentLogger);
  onTestFinished(() => served.close(), 30_000);
  const told = join(dir, 'inbox', 'done', 'a.bin.completion.json');
  const said = await until(() => (existsSync(told) && readFileSync(told, 'utf8')) || false);
  const completion = completionSchema.parse(JSON.parse(said));
  expect(completion).toMatchObject({ task: 'copies', outcome: 'completed' });
  expect(existsSync(join(completion.resultDir ?? '', 'manifest.json'))).toBe(true);
  await until(() => existsSync(join(dir, 'inbox', 'done', 'a.bin')));
});
