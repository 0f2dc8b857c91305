import { beforeEach, expect, it } from 'vitest';
import { KubeFailure } from '../../../runtime/cluster/kube.js';
import type { KubeObject, KubeRest } from '../../../runtime/cluster/kube-rest.js';
import { ObjectWriter } from '../../../runtime/cluster/object-writer.js';
import { ManualClock } from '../../support/manual-clock.js';

const service: KubeObject = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'flights', namespace: 'lines' } };
const path = '/api/v1/namespaces/lines/services/flights';

let stored: KubeObject | undefined;
let asked: string[];
/** While the server has the object and has not answered yet. */
let meanwhile: () => void;
let writer: ObjectWriter;

beforeEach(() => {
  stored = undefined;
  asked = [];
  meanwhile = () => undefined;
  let uids = 0;
  const request = async <T>(method: string): Promise<T> => {
    asked.push(method);
    if (method === 'PATCH')
      stored ??= { ...service, metadata: { ...service.metadata, uid: `uid-${String((uids += 1))}`, generation: 1 } };
    if (stored === undefined) throw new KubeFailure(404, 'not found');
    const answer = stored;
    meanwhile();
    return Promise.resolve(answer as T);
  };
  writer = new ObjectWriter({ request } as unknown as KubeRest, new ManualClock());
});

const write = async (): Promise<string[]> => {
  asked = [];
  await writer.write('lines/flights', [service]);
  return asked;
};

it('sends an object once, and reads it again only where there is reason to doubt it', async () => {
  expect(await write()).toEqual(['PATCH']);
  expect(await write()).toEqual([]);
  expect(writer.doubt('lines/flights', path, stored)).toBe(false);
  expect(await write()).toEqual([]);
  expect(writer.doubt('lines/flights', path, { ...service, metadata: { ...service.metadata, uid: 'another' } })).toBe(true);
  expect(await write()).toEqual(['GET']);
  expect(await write()).toEqual([]);
});

it('creates an object again that is deleted while it is sent', async () => {
  await write();
  // It is said to be going: another generation.
  const going = { ...service, metadata: { ...service.metadata, uid: 'uid-1', generation: 2 } };
  stored = going;
  expect(writer.doubt('lines/flights', path, going)).toBe(true);
  meanwhile = () => {
    if (asked.at(-1) !== 'PATCH') return;
    stored = undefined;
    expect(writer.doubt('lines/flights', path, undefined)).toBe(true);
  };
  expect(await write()).toEqual(['GET', 'PATCH']);
  meanwhile = () => undefined;
  expect(await write()).toEqual(['GET', 'PATCH']);
  expect(stored).toMatchObject({ metadata: { uid: 'uid-2' } });
});
