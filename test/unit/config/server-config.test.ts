import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readServerConfig, readTokenFile } from '../../../runtime/config/server-config.js';
import { openServedAutoscaler } from '../../../runtime/serve/autoscaler.js';
import { retentionOf } from '../../../runtime/serve/retention.js';
import { hashOfToken } from '../../../runtime/access/tokens.js';
import { recorder } from '../../support/api.js';
import { folder } from '../../support/journal.js';

function file(text: string, name = 'server.yaml'): string {
  const path = join(folder(), name);
  writeFileSync(path, text);
  return path;
}

const faultOf = (reading: Promise<unknown>): Promise<string> =>
  reading.then(
    () => 'no fault',
    (thrown: unknown) => {
      const { code, message } = thrown as { code: string; message: string };
      return `${code} ${message.replaceAll(/\S*\/(?=[^/\s]+:\d)/g, '')}`;
    },
  );

describe('the configuration of a coordinator', () => {
  it('has defaults that allow nothing, and paths that start from its folder', async () => {
    const path = file(
      'workDir: ./state\njournal: lmdb:./journal\nauth: { tokens: tokens.yaml }\nlisten: { tls: { cert: c.pem, key: /k.pem } }\n',
    );
    const dir = join(path, '..');
    const config = await readServerConfig(path, {}, '/elsewhere');
    expect(config).toMatchObject({
      listen: { host: '127.0.0.1', tls: { cert: join(dir, 'c.pem'), key: '/k.pem' } },
      workDir: join(dir, 'state'),
      journal: `lmdb:${join(dir, 'journal')}`,
      driver: 'none',
      auth: { tokens: join(dir, 'tokens.yaml') },
      allowed: { sources: { roots: [], hosts: [], privateAddresses: false }, results: { roots: [] } },
      webhooks: { hosts: [], privateAddresses: false },
    });
    expect((await readServerConfig(undefined, {}, '/somewhere')).workDir).toBe('/somewhere/podline');
  });

  it('says how long the journal keeps things, as far as it says it', async () => {
    const { retention } = await readServerConfig(file('retention: { doneMax: 5, failedFor: 12h, eventsFor: 1s }'), {}, '/');
    expect(retentionOf(retention)).toEqual({ doneMax: 5, failedMs: 43_200_000, eventsMs: 1_000 });
    expect(retentionOf((await readServerConfig(undefined, {}, '/')).retention)).toEqual({});
    expect(() => retentionOf({ eventsFor: '10ms' })).toThrow('retention.eventsFor: `10ms` is out of bounds');
  });

  it('names another autoscaler, whose command starts from its folder where it is a path', async () => {
    const path = file('driver: local\nautoscaler: { command: [./tell, ./x] }');
    expect((await readServerConfig(path, {}, '/')).autoscaler).toEqual({
      command: [join(path, '..', 'tell'), './x'],
      timeoutSeconds: 30,
    });
    const onPath = file('driver: local\nautoscaler: { command: [kubectl, patch], timeoutSeconds: 5 }');
    expect((await readServerConfig(onPath, {}, '/')).autoscaler).toEqual({ command: ['kubectl', 'patch'], timeoutSeconds: 5 });
  });

  it('names no webhook of an autoscaler that webhooks may not reach', async () => {
    const path = file('driver: local\nautoscaler: { webhook: { url: http://x/y } }\nwebhooks: { secret: secret, hosts: [x] }');
    writeFileSync(join(path, '..', 'secret'), 'a secret of more than 24 characters');
    const opening = openServedAutoscaler(await readServerConfig(path, {}, '/'), recorder([]));
    expect(await faultOf(opening)).toContain('PDL_CONFIG_INVALID autoscaler.webhook.url: the address is not allowed');
  });

  it('is overridden by the environment', async () => {
    const config = await readServerConfig(
      file('listen: { port: 1 }\n'),
      { PODLINE_LISTEN_PORT: '8080', PODLINE_TLS_CERT: '/c', PODLINE_TLS_KEY: '/k', PODLINE_DRIVER: 'local' },
      '/',
    );
    expect([config.listen.port, config.listen.tls, config.driver]).toEqual([8080, { cert: '/c', key: '/k' }, 'local']);
    expect(await faultOf(readServerConfig(undefined, { PODLINE_LISTEN_PORT: 'many' }, '/'))).toMatch(
      /^PDL_CONFIG_INVALID PODLINE_LISTEN_PORT:1:1 listen\.port: `many` is not a number/,
    );
  });

  it.each([
    ['listen: { prot: 1 }', 'server.yaml:1:11 listen.prot: the key `prot` is not known'],
    ['driver: loca', 'server.yaml:1:9 driver: `loca` is not allowed'],
    ['allowed:\n  sources:\n    hosts: [https://x/y]', 'server.yaml:3:13 allowed.sources.hosts[0]: `https://x/y` must be a host'],
    ['allowed: { results: { roots: [relative] } }', 'allowed.results.roots[0]: `relative` must be an absolute path'],
    ['journal: mysql://x', 'journal: `mysql://x` must be lmdb:'],
    ['a: [', 'server.yaml:1:'],
    ['driver: local\nautoscaler: {}', 'autoscaler: it is told by a command or by a webhook'],
    ['autoscaler: { command: [tell] }', 'autoscaler: without lines of its own this coordinator knows no W_max'],
    ['autoscaler: { command: [] }', 'server.yaml:1:24 autoscaler.command'],
    ['autoscaler: { command: [tell] }\ncluster: { autoscaling: hpa }', 'cluster.autoscaling says hpa'],
    [
      'driver: local\nautoscaler: { webhook: { url: https://x/y } }',
      'autoscaler.webhook: it is signed, and there is no webhooks.secret',
    ],
    ['retention: { doneMax: 0 }', 'server.yaml:1:23 retention.doneMax'],
    ['retention: { doneFor: long }', 'retention.doneFor: `long`'],
    ['listen: { host: 0.0.0.0 }', 'listen.host: 0.0.0.0 is not loopback, and there is no listen.tls'],
  ])('is told its faults with place and hint: %s', async (text, words) => {
    const fault = await faultOf(readServerConfig(file(text), {}, '/'));
    expect(fault).toContain('PDL_CONFIG_INVALID');
    expect(fault).toContain(words);
  });

  it('that is not there is a fault, and plain text beyond loopback has to be said', async () => {
    expect(await faultOf(readServerConfig('/nowhere.yaml', {}, '/'))).toMatch(/the configuration \/nowhere\.yaml cannot be read/);
    expect((await readServerConfig(file('listen: { host: 0.0.0.0, plaintext: true }'), {}, '/')).listen.host).toBe('0.0.0.0');
  });
});

describe('a token file', () => {
  it('is read with defaults, and its faults are told', async () => {
    const sha256 = hashOfToken('x');
    expect(await readTokenFile(file(`tokens: [{ name: ci, sha256: ${sha256}, scopes: [submit] }]`))).toEqual([
      { name: 'ci', sha256, scopes: ['submit'], pipelines: ['*'] },
    ]);
    const fault = (text: string): Promise<string> => faultOf(readTokenFile(file(text, 'tokens.yaml')));
    expect(await fault('tokens: [{ name: ci, sha256: abc, scopes: [submit] }]')).toContain(
      'tokens.yaml:1:30 tokens[0].sha256: `abc` must be 64 hexadecimal digits',
    );
    expect(await fault(`tokens: [{ name: ci, sha256: ${sha256}, scopes: [sumbit] }]`)).toContain('`sumbit` is not allowed');
    expect(
      await fault(`tokens: [{ name: ci, sha256: ${sha256}, scopes: [read] }, { name: ci, sha256: ${sha256}, scopes: [read] }]`),
    ).toContain('two tokens are named ci');
  });
});
