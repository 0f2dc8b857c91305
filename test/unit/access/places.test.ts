import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { specialKind } from '../../../runtime/access/addresses.js';
import { guardedFetch, type Lookup } from '../../../runtime/access/guarded-fetch.js';
import { isUnder, whyNotUrl } from '../../../runtime/access/places.js';
import { requireUnder } from '../../../runtime/access/real-path.js';
import { addressesSchema, type Addresses } from '../../../runtime/contracts/access.js';
import { openSource } from '../../../runtime/sources/open-source.js';
import { folder } from '../../support/journal.js';

const allow = (given: Partial<Addresses> = {}): Addresses =>
  addressesSchema.parse({ hosts: ['*'], schemes: ['http', 'https'], ...given });
const why = (uri: string, given: Partial<Addresses> = {}): string | undefined => whyNotUrl(new URL(uri), allow(given));

describe('an address', () => {
  it.each([
    ['127.0.0.1', 'loopback'],
    ['127.255.255.254', 'loopback'],
    ['::1', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['::ffff:7f00:1', 'loopback'],
    ['0.0.0.0', 'unspecified'],
    ['169.254.169.254', 'link-local'],
    ['fe80::1', 'link-local'],
    ['10.1.2.3', 'private'],
    ['172.31.255.255', 'private'],
    ['192.168.0.1', 'private'],
    ['fd00::1', 'private'],
    ['::ffff:10.0.0.1', 'private'],
    ['100.64.0.1', 'shared'],
    ['64:ff9b::7f00:1', 'translated'],
    ['2002:7f00:1::', 'tunnelled'],
    ['224.0.0.1', 'multicast'],
    ['255.255.255.255', 'reserved'],
    ['not an address', 'unknown'],
  ])('%s is %s', (address, kind) => {
    expect(specialKind(address)).toBe(kind);
  });

  it.each(['8.8.8.8', '172.32.0.1', '192.169.0.1', '100.128.0.1', '2606:4700::1111', '::ffff:8.8.8.8'])(
    '%s is public',
    (address) => {
      expect(specialKind(address)).toBeUndefined();
    },
  );

  it('may be asked only by its scheme, host and port', () => {
    const hosts = ['data.example.org', '*.lake.example.org', 'one.example.org:8443'];
    expect(why('https://data.example.org/a', { hosts })).toBeUndefined();
    expect(why('https://DATA.example.org./a', { hosts })).toBeUndefined();
    expect(why('https://a.b.lake.example.org/', { hosts })).toBeUndefined();
    expect(why('https://one.example.org:8443/', { hosts })).toBeUndefined();
    expect(why('https://one.example.org/', { hosts })).toMatch(/not among/);
    expect(why('https://lake.example.org/', { hosts })).toMatch(/not among/);
    expect(why('https://evil-lake.example.org/', { hosts })).toMatch(/not among/);
    expect(why('https://data.example.org.evil.test/', { hosts })).toMatch(/not among/);
    expect(why('https://data.example.org@evil.test/', { hosts })).toBeDefined();
    expect(why('https://user:secret@data.example.org/', { hosts })).toMatch(/user or password/);
    expect(why('http://data.example.org/', { hosts, schemes: ['https'] })).toMatch(/http is not among the schemes/);
    expect(why('ftp://data.example.org/', { hosts })).toMatch(/ftp is not/);
  });

  it.each([
    'http://127.0.0.1/',
    'http://2130706433/',
    'http://0x7f.1/',
    'http://0177.0.0.1/',
    'http://[::1]/',
    'http://[::ffff:127.0.0.1]/',
  ])('%s is loopback however it is written', (uri) => {
    expect(why(uri)).toMatch(/loopback/);
    expect(why(uri, { privateAddresses: true })).toBeUndefined();
  });
});

describe('a path', () => {
  it('lies in a root or does not, whatever dots are in it', () => {
    expect(isUnder('/data/a', ['/data'])).toBe(true);
    expect(isUnder('/data', ['/data/'])).toBe(true);
    expect(isUnder('/data/..a', ['/data'])).toBe(true);
    expect(isUnder('/database/a', ['/data'])).toBe(false);
    expect(isUnder('/data/../etc/passwd', ['/data'])).toBe(false);
    expect(isUnder('/data/a/../../etc', ['/data'])).toBe(false);
    expect(isUnder('/data', [])).toBe(false);
  });

  it('is refused where a symlink leads out, also above what is not there yet, and as a source when it is opened', async () => {
    const dir = folder();
    const [root, outside] = [join(dir, 'root'), join(dir, 'outside')];
    for (const made of [root, outside]) mkdirSync(made);
    writeFileSync(join(outside, 'secret.csv'), 'a\n1\n');
    writeFileSync(join(root, 'good.csv'), 'a\n1\n');
    symlinkSync(outside, join(root, 'out'));
    symlinkSync(join(outside, 'secret.csv'), join(root, 'link.csv'));
    symlinkSync(join(root, 'good.csv'), join(root, 'inner.csv'));
    symlinkSync('loop', join(root, 'loop'));
    symlinkSync(root, join(dir, 'alias'));
    const refused = { code: 'PDL_PLACE_FORBIDDEN' };
    for (const path of ['out/secret.csv', 'link.csv', 'out/new/deep', 'loop', '../outside/secret.csv', '../root/../outside'])
      await expect(requireUnder('it', join(root, path), [root]), path).rejects.toMatchObject(refused);
    await expect(requireUnder('it', 'root/good.csv', [root])).rejects.toMatchObject(refused);
    await expect(requireUnder('it', join(root, 'inner.csv'), [root])).resolves.toMatch(/good\.csv$/);
    await expect(requireUnder('it', join(root, 'new', 'deep'), [root])).resolves.toMatch(/deep$/);
    await expect(requireUnder('it', join(dir, 'alias', 'good.csv'), [join(dir, 'alias')])).resolves.toMatch(/root\/good\.csv$/);

    const allowed = { ...allow(), roots: [root] };
    const source = await openSource(join(root, 'inner.csv'), undefined, allowed);
    expect((await source.readAt(0, 3)).toString()).toBe('a\n1');
    await source.close();
    await expect(openSource(join(root, 'link.csv'), undefined, allowed)).rejects.toMatchObject(refused);
    await expect(openSource(join(outside, 'secret.csv'), undefined, allowed)).rejects.toMatchObject(refused);
  });
});

async function serve(listener: RequestListener): Promise<number> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

const resolvesTo =
  (...answers: string[]): Lookup =>
  (_hostname, _options, callback) => {
    const address = answers.length > 1 ? answers.shift() : answers[0];
    callback(null, [{ address: address ?? '', family: 4 }]);
  };

describe('a guarded request', () => {
  it('is refused by redirect to a place that is not allowed, with nothing asked there', async () => {
    let asked = 0;
    const secret = await serve((_request, response) => {
      asked += 1;
      response.end('secret');
    });
    const port = await serve((request, response) => {
      const to = new URL(request.url ?? '/', 'http://x').searchParams.get('to') ?? '';
      response.writeHead(302, { location: to }).end();
    });
    const hosts = [`127.0.0.1:${String(port)}`];
    const go = (to: string): Promise<unknown> =>
      guardedFetch(
        `http://127.0.0.1:${String(port)}/?to=${encodeURIComponent(to)}`,
        {},
        allow({ hosts, privateAddresses: true }),
      );
    for (const to of [
      `http://127.0.0.1:${String(secret)}/`,
      `http://localhost:${String(secret)}/`,
      'file:///etc/passwd',
      'http://169.254.169.254/',
    ])
      await expect(go(to), to).rejects.toMatchObject({
        code: 'PDL_PLACE_FORBIDDEN',
        message: expect.stringContaining('redirect'),
      });
    expect(asked).toBe(0);
    await expect(go('?to=' + encodeURIComponent('?to=x'))).rejects.toMatchObject({ code: 'PDL_PLACE_FORBIDDEN' });
    const source = { ...allow({ hosts, privateAddresses: true }), roots: [] };
    await expect(
      openSource(
        `http://127.0.0.1:${String(port)}/?to=${encodeURIComponent(`http://127.0.0.1:${String(secret)}/`)}`,
        undefined,
        source,
      ),
    ).rejects.toMatchObject({ code: 'PDL_PLACE_FORBIDDEN' });
    expect(asked).toBe(0);
  });

  it('is refused where the name has a private address, also when it had a public one before', async () => {
    const port = await serve((_request, response) => response.end('inside'));
    const uri = `http://data.example.org:${String(port)}/`;
    const forbidden = { code: 'PDL_PLACE_FORBIDDEN', message: expect.stringContaining('loopback address 127.0.0.1') };
    await expect(guardedFetch(uri, {}, allow(), resolvesTo('127.0.0.1'))).rejects.toMatchObject(forbidden);
    // Rebinding: the second look gives another address than the first, and it is the one that counts.
    const rebinding = resolvesTo('192.0.2.1', '127.0.0.1');
    await expect(guardedFetch(uri, {}, allow(), rebinding)).rejects.toMatchObject({ code: 'PDL_PLACE_FORBIDDEN' });
    await expect(guardedFetch(uri, {}, allow(), rebinding)).rejects.toMatchObject(forbidden);
    const answer = await guardedFetch(uri, {}, allow({ privateAddresses: true }), resolvesTo('127.0.0.1'));
    expect(await answer.text()).toBe('inside');
  });

  it('is refused where one of several addresses is private', async () => {
    const both: Lookup = (_hostname, _options, callback) => {
      callback(null, [
        { address: '8.8.8.8', family: 4 },
        { address: '10.0.0.1', family: 4 },
      ]);
    };
    await expect(guardedFetch('http://data.example.org/', {}, allow(), both)).rejects.toMatchObject({
      code: 'PDL_PLACE_FORBIDDEN',
    });
  });
});
