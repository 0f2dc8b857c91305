import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Informer } from '../../../runtime/cluster/informer.js';
import { openKubeRest, type KubeObject, type KubeRest } from '../../../runtime/cluster/kube-rest.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { ManualClock } from '../../support/manual-clock.js';
import { FakeApiServer } from './fake-api-server.js';

const collection = '/apis/podline.dev/v1alpha1/namespaces/lines/pipelines';
const pathOf = (name: string): string => `${collection}/${name}`;
const object = (name: string, spec: unknown = {}) => ({
  metadata: { name, namespace: 'lines', labels: { app: 'line' } },
  spec,
});

let server: FakeApiServer;
let rest: KubeRest;
let clock: ManualClock;
let informer: Informer<KubeObject>;
let told: string[];
const names = (): string[] => informer.all().map(({ metadata }) => metadata.name);
/** Time goes on while something is waited for, so that waits between tries are over at once. */
const eventually = (what: () => void): Promise<void> =>
  vi.waitFor(() => {
    clock.step(30_000);
    what();
  }, 10_000);

beforeEach(async () => {
  server = await FakeApiServer.start();
  rest = openKubeRest({ kubeconfig: server.kubeconfig });
  clock = new ManualClock();
  told = [];
  informer = new Informer({
    rest,
    path: collection,
    labelSelector: 'app=line',
    resyncMs: 1_000_000_000,
    clock,
    random: () => 0,
    logger: silentLogger,
    onChange: ({ metadata }, before) =>
      told.push(
        `${before === undefined ? 'new' : before.metadata.resourceVersion === metadata.resourceVersion ? 'again' : 'changed'} ${metadata.name}`,
      ),
    onGone: ({ metadata }) => told.push(`gone ${metadata.name}`),
  });
});

afterEach(async () => {
  await informer.close();
  rest.close();
  await server.close();
});

const started = async (): Promise<void> => {
  await informer.start();
  await vi.waitFor(() => {
    expect(server.watches).toBe(1);
  });
};
const lists = (): number =>
  server.requests.filter(({ method, path, query }) => method === 'GET' && path === collection && !query.has('watch')).length;

describe('an informer', () => {
  it('knows what there is, and follows it', async () => {
    server.put(pathOf('a'), object('a'));
    await started();
    expect(names()).toEqual(['a']);
    server.put(pathOf('b'), object('b'));
    server.put(pathOf('a'), object('a', { lines: 2 }));
    server.delete(pathOf('b'));
    await eventually(() => {
      expect(told).toEqual(['new a', 'new b', 'changed a', 'gone b']);
    });
    expect(informer.get('lines', 'a')?.spec).toEqual({ lines: 2 });
  });

  it('reads a long list in pages', async () => {
    for (let number = 0; number < 1_201; number += 1) server.put(pathOf(`p${String(number)}`), object(`p${String(number)}`));
    await started();
    expect(informer.all()).toHaveLength(1_201);
    expect(lists()).toBe(3);
  });

  it('goes on from where it was when the server ends the watch, without listing', async () => {
    server.put(pathOf('a'), object('a'));
    await started();
    server.endWatches();
    server.put(pathOf('b'), object('b'));
    await eventually(() => {
      expect(names()).toEqual(['a', 'b']);
    });
    expect(lists()).toBe(1);
    expect(told).toEqual(['new a', 'new b']);
  });

  it('goes on from a bookmark when the server has forgotten all before it', async () => {
    await started();
    server.put(pathOf('a'), object('a'));
    server.bookmark();
    await eventually(() => {
      expect(names()).toEqual(['a']);
    });
    server.compact();
    server.endWatches();
    await eventually(() => {
      expect(server.watches).toBe(1);
    });
    server.put(pathOf('b'), object('b'));
    await eventually(() => {
      expect(names()).toEqual(['a', 'b']);
    });
    expect(lists()).toBe(1);
  });

  it.each([
    [
      'the watch is opened',
      () => {
        server.endWatches();
      },
    ],
    [
      'it watches',
      () => {
        server.expireWatches();
      },
    ],
  ])('lists anew, and tells what went meanwhile, when its version is forgotten as %s', async (_when, end) => {
    server.put(pathOf('a'), object('a'));
    server.put(pathOf('b'), object('b'));
    await started();
    const held = server.watches;
    expect(held).toBe(1);
    // Nothing of this reaches the watch that is over.
    server.refusals.push({ method: 'GET', path: /pipelines$/, status: 410, message: 'too old resource version' });
    end();
    server.delete(pathOf('a'));
    server.put(pathOf('c'), object('c'));
    server.compact();
    await eventually(() => {
      expect(names().sort()).toEqual(['b', 'c']);
    });
    expect(told).toEqual(['new a', 'new b', 'gone a', 'new c']);
    expect(lists()).toBeGreaterThan(1);
  });

  it('keeps what it knows while the server is away, and catches up when it is back', async () => {
    server.put(pathOf('a'), object('a'));
    await started();
    const port = await server.away();
    await eventually(() => {
      expect(names()).toEqual(['a']);
    });
    server.delete(pathOf('a'));
    server.put(pathOf('b'), object('b'));
    await server.listen(port);
    await eventually(() => {
      expect(names()).toEqual(['b']);
    });
    expect(told).toEqual(['new a', 'gone a', 'new b']);
  });

  it('waits for a server that is away when it starts', async () => {
    const port = await server.away();
    const start = informer.start();
    server.put(pathOf('a'), object('a'));
    await server.listen(port);
    await eventually(() => {
      expect(names()).toEqual(['a']);
    });
    await start;
  });

  it('tries again when it is refused', async () => {
    for (let time = 0; time < 3; time += 1)
      server.refusals.push({ method: 'GET', path: /pipelines$/, status: 500, message: 'etcd is away' });
    const start = informer.start();
    server.put(pathOf('a'), object('a'));
    await eventually(() => {
      expect(names()).toEqual(['a']);
    });
    await start;
  });

  it('tells of everything again at each resync', async () => {
    server.put(pathOf('a'), object('a'));
    await started();
    clock.step(1_000_000_000);
    clock.step(1_000_000_000);
    expect(told).toEqual(['new a', 'again a', 'again a']);
  });

  it('closes while it waits for a server that is away', async () => {
    await server.away();
    void informer.start();
    await informer.close();
    expect(told).toEqual([]);
  });
});
