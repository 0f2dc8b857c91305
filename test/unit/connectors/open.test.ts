/** Connectors from a configuration: what is wrong is named, secrets stay where they are. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openConnectors } from '../../../runtime/connectors/open.js';
import { readSecret } from '../../../runtime/connectors/secrets.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { Rig } from '../../support/connectors/rig.js';
import { folder } from '../../support/journal.js';
import { until } from '../../support/until.js';

describe('connectors', () => {
  it('are opened as they are written, and closed together', async () => {
    const [rig, dir] = [await Rig.start(), folder()];
    const connectors = openConnectors(
      [
        { kind: 'folder', name: 'inbox', dir, pipeline: 'flights' },
        { kind: 'kafka', name: 'kafka', brokers: ['127.0.0.1:1'] },
        { kind: 'rabbitmq', name: 'rabbitmq', host: '127.0.0.1', port: 1 },
      ],
      { office: rig.client, logger: silentLogger, backoff: { initialMs: 1, factor: 2, maxMs: 50 } },
    );
    onTestFinished(() => connectors.close());
    await until(
      () =>
        connectors
          .views()
          .map(({ state }) => state)
          .join() === 'running,away,away',
    );
    expect(connectors.views().map(({ because }) => because)).toEqual([
      'requests are taken',
      expect.stringContaining('kafka at 127.0.0.1:1'),
      expect.stringContaining('rabbitmq at 127.0.0.1:1'),
    ]);
    await connectors.close();
    expect(connectors.views().map(({ state }) => state)).toEqual(['closed', 'closed', 'closed']);
  });

  it('that are written wrongly are refused with the place', async () => {
    const { client: office } = await Rig.start();
    const open = (config: unknown) => () => openConnectors(config, { office, logger: silentLogger });
    const refused = (message: string): unknown =>
      expect.objectContaining({ code: 'PDL_CONNECTOR_INVALID', message: expect.stringContaining(message) });
    expect(open([{ kind: 'kafka', name: 'k', brokers: ['kafka'] }])).toThrow(
      refused('connectors.0.brokers.0: must be host:port'),
    );
    expect(open([{ kind: 'rabbitmq', name: 'r', host: 'h', password: 'inline' }])).toThrow(refused('connectors.0.password'));
    const twice = { kind: 'folder', name: 'a', dir: '/a', pipeline: 'p' };
    expect(open([twice, twice])).toThrow(refused('must differ'));
  });

  it('read secrets from a file or the environment, and name what is missing', async () => {
    const file = join(folder(), 'password');
    writeFileSync(file, 'hush\n');
    expect(await readSecret({ file })).toBe('hush');
    process.env['CONNECTOR_SECRET'] = 'hush too';
    onTestFinished(() => {
      delete process.env['CONNECTOR_SECRET'];
    });
    expect(await readSecret({ env: 'CONNECTOR_SECRET' })).toBe('hush too');
    await expect(readSecret({ file: `${file}.not` })).rejects.toThrow(/password\.not/);
    await expect(readSecret({ env: 'CONNECTOR_NOT' })).rejects.toThrow(/CONNECTOR_NOT/);
  });
});
