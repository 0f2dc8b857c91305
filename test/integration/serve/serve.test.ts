import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:tls';
import { join } from 'node:path';
import { Agent, fetch } from 'undici';
import { describe, expect, it, onTestFinished } from 'vitest';
import { hashOfToken } from '../../../runtime/access/tokens.js';
import { PodlineClient } from '../../../runtime/api/client.js';
import { makeCertificate } from '../../support/certificate.js';
import { cli, startCli } from '../../support/cli.js';
import { folder, pipelineOf } from '../../support/journal.js';
import { testDatabase } from '../../support/postgres.js';
import { serving } from '../../support/serving.js';
import { until } from '../../support/until.js';
import { needs } from '../../support/require.js';

const stages = `
import { column, defineStage } from 'podline';
export default defineStage({
  input: { delay: 'int64' },
  output: { late: 'uint8' },
  block(batch) {
    const late = column.uint8(batch.rows);
    for (let row = 0; row < batch.rows; row++) late.values[row] = batch.columns.delay.at(row) > 15n ? 1 : 0;
    return { columns: { late } };
  },
});
`;

const latePipeline = `apiVersion: podline.dev/v1alpha1\nkind: Pipeline\nmetadata: { name: late }\nspec:\n  input: { format: ndjson, columns: { delay: int64 } }\n  slots: 1\n  stages: [{ name: late, uses: ./late.ts }]\n  result: { dir: ./results, format: ndjson }\n`;

const database = testDatabase();

describe('a coordinator of its own', () => {
  it('takes a request from submission to result, refuses what is not allowed, and ends cleanly', async () => {
    const dir = folder();
    mkdirSync(join(dir, 'results'));
    writeFileSync(join(dir, 'late.ts'), stages);
    writeFileSync(join(dir, 'pipeline.yaml'), latePipeline);
    const server = await serving(
      dir,
      `listen: { port: 0 }\ndriver: local\npipelines: [{ manifest: pipeline.yaml }]\nallowed: { sources: { roots: [${dir}/in] }, results: { roots: [${dir}/results] } }\n`,
    );
    const client = PodlineClient.connect(server.url, server.operator);
    onTestFinished(() => client.close());
    const answer = await client.request({
      task: 'late',
      payload: [{ delay: 3 }, { delay: 30 }],
      resultDir: join(dir, 'results', 'mine'),
    });
    const shard = await client.waitFor(answer.outcome === 'rejected' ? '' : answer.id);
    expect(shard.state).toBe('completed');
    const { files } = await client.result(shard.id);
    let text = '';
    for await (const piece of client.resultFile(shard.id, files[0]?.name ?? '')) text += Buffer.from(piece).toString();
    expect(
      text
        .trim()
        .split('\n')
        .map((row) => JSON.parse(row) as unknown),
    ).toEqual([
      { delay: 3, late: 0 },
      { delay: 30, late: 1 },
    ]);
    await expect(client.request({ task: 'late', payload: { uri: '/etc/passwd' } })).rejects.toMatchObject({
      code: 'PDL_PLACE_FORBIDDEN',
    });
    const waited = await cli([
      'submit',
      'late',
      '--work-dir',
      join(dir, 'podline'),
      '--input',
      join(dir, 'in', 'gone.ndjson'),
      '--wait',
    ]);
    expect(waited.code).toBe(2);
    mkdirSync(join(dir, 'in'));
    writeFileSync(join(dir, 'in', 'a.ndjson'), '{"delay":1}\n');
    const submitted = await cli([
      'submit',
      'late',
      '--work-dir',
      join(dir, 'podline'),
      '--input',
      join(dir, 'in', 'a.ndjson'),
      '--wait',
    ]);
    expect([submitted.code, submitted.stdout]).toEqual([0, expect.stringMatching(/completed /)]);
    expect(statSync(join(dir, 'podline', 'coordinator.json')).mode & 0o777).toBe(0o600);
    expect(statSync(join(dir, 'podline', 'line-secret')).mode & 0o777).toBe(0o600);
    expect(await server.stop()).toBe(0);
    expect(existsSync(join(dir, 'podline', 'coordinator.json'))).toBe(false);
    expect(server.log()).not.toContain(server.operator);
    expect(server.log()).toContain('"audit":true');
  });

  it('is killed and begins again: what it had accepted is delivered once', async () => {
    const dir = folder();
    writeFileSync(join(dir, 'late.ts'), stages);
    writeFileSync(join(dir, 'pipeline.yaml'), latePipeline);
    mkdirSync(join(dir, 'results'));
    const config = `listen: { port: 0 }\ndriver: local\npipelines: [{ manifest: pipeline.yaml }]\nallowed: { results: { roots: [${dir}/results] } }\n`;
    const keys = Array.from({ length: 30 }, (_, index) => `request-${String(index)}`);
    const first = await serving(dir, config);
    const before = PodlineClient.connect(first.url, first.operator);
    onTestFinished(() => before.close());
    for (const key of keys) {
      const resultDir = join(dir, 'results', key);
      await before.request({ task: 'late', payload: [{ delay: 30 }], key, resultDir });
    }
    await until(async () => (await before.progress('late')).completed > 0);
    await first.stop('SIGKILL');
    const second = await serving(dir, config);
    const after = PodlineClient.connect(second.url, second.operator);
    onTestFinished(() => after.close());
    await until(async () => (await after.progress('late')).completed === keys.length);
    const told: string[] = [];
    for await (const { key } of after.listAll('late', { state: 'completed' })) told.push(key);
    expect(told.sort()).toEqual(keys.toSorted());
    for (const key of keys) expect(existsSync(join(dir, 'results', key))).toBe(true);
    expect(await second.stop()).toBe(0);
  });

  describe.each(['LMDB', 'PostgreSQL'])('with its journal in %s', (kind) => {
    (kind === 'LMDB' ? it : needs('postgres').it)(
      'forgets by its configuration, and a key that went is a new shard',
      async () => {
        const dir = folder();
        const journal = kind === 'LMDB' ? '' : `journal: '${await database.url()}'\n`;
        const server = await serving(
          dir,
          `listen: { port: 0 }\n${journal}retention: { doneMax: 2 }\nallowed: { results: { roots: [/] } }\n`,
        );
        const client = PodlineClient.connect(server.url, server.operator);
        onTestFinished(() => client.close());
        await client.applyPipeline(pipelineOf());
        const source = { inline: 'n\n1\n', format: 'csv' as const };
        for (const key of ['a', 'b', 'c', 'd']) {
          const answer = await client.submit('flights', { key, source });
          if (answer.outcome !== 'accepted') throw new Error(JSON.stringify(answer));
          await client.cancel(answer.id);
        }
        const kept = async (): Promise<string[]> => {
          const keys: string[] = [];
          for await (const { key } of client.listAll('flights', { state: 'cancelled' })) keys.push(key);
          return keys.sort();
        };
        await until(async () => (await kept()).length === 2);
        expect(await kept()).toEqual(['c', 'd']);
        const again = async (key: string): Promise<string> => (await client.submit('flights', { key, source })).outcome;
        expect([await again('a'), await again('d')]).toEqual(['accepted', 'duplicate']);
      },
    );
  });

  it('reads its tokens again when their file changes, and keeps those before when it is broken', async () => {
    const dir = folder();
    const write = (text: string): void => {
      writeFileSync(join(dir, 'next'), text);
      renameSync(join(dir, 'next'), join(dir, 'tokens.yaml'));
    };
    const entry = (token: string): string => `tokens: [{ name: ${token}, sha256: ${hashOfToken(token)}, scopes: [read] }]\n`;
    write(entry('one'));
    const server = await serving(dir, 'listen: { port: 0 }\nauth: { tokens: tokens.yaml }\n');
    const status = async (token: string): Promise<number> =>
      (await fetch(`${server.url}/v1/pipelines`, { headers: { authorization: `Bearer ${token}` } })).status;
    expect([await status('one'), await status('two')]).toEqual([200, 401]);
    write(entry('two'));
    await until(async () => (await status('two')) === 200);
    expect(await status('one')).toBe(401);
    write('tokens: [');
    await until(() => server.log().includes('cannot be read'));
    expect(await status('two')).toBe(200);
  });

  it('says on which line of its configuration it stumbles', async () => {
    const dir = folder();
    writeFileSync(join(dir, 'server.yaml'), 'listen:\n  prot: 1\n');
    const { code, stderr } = await startCli(['serve', '--config', 'server.yaml'], { cwd: dir }).ended;
    expect([code, stderr]).toEqual([2, expect.stringContaining('server.yaml:2:3 listen.prot: the key `prot` is not known')]);
  });
});

needs('openssl').describe('TLS', () => {
  it('is spoken, and its certificate is read again when it changes, with connections kept', async () => {
    const dir = folder();
    const use = (name: string): void => {
      for (const ending of ['key', 'crt']) copyFileSync(join(dir, `${name}.${ending}`), join(dir, `tls.${ending}`));
    };
    for (const name of ['first', 'second']) makeCertificate(dir, name, 'IP:127.0.0.1');
    use('first');
    const server = await serving(dir, 'listen: { port: 0, tls: { cert: tls.crt, key: tls.key } }\n');
    expect(server.url).toMatch(/^https:/);
    const port = Number(new URL(server.url).port);
    const shown = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
          resolve(String(socket.getPeerCertificate().subject.CN));
          socket.destroy();
        }).on('error', reject);
      });
    expect(await shown()).toBe('first');
    const trusting = new Agent({ connect: { ca: readFileSync(join(dir, 'first.crt')) } });
    onTestFinished(() => trusting.destroy());
    const get = async (): Promise<number> =>
      (
        await fetch(`${server.url}/v1/pipelines`, {
          dispatcher: trusting,
          headers: { authorization: `Bearer ${server.operator}` },
        })
      ).status;
    expect(await get()).toBe(200);
    await expect(fetch(`${server.url}/healthz`)).rejects.toThrow();
    use('second');
    await until(async () => (await shown()) === 'second');
    expect(await get()).toBe(200);
    writeFileSync(join(dir, 'tls.crt'), 'broken');
    await until(() => server.log().includes('cannot be used'));
    expect(await shown()).toBe('second');
  });
});
