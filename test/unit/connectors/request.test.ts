/** What a message may be, and what is said of one that is none. */
import { describe, expect, it } from 'vitest';
import { readRequest, submissionOf } from '../../../runtime/connectors/request.js';
import type { PodlineError } from '../../../runtime/contracts/errors.js';
import { pipelineOf } from '../../support/journal.js';

const flights = pipelineOf('flights', { input: { format: 'csv' } });
const read = (body: unknown, more: { key?: string; pipeline?: string } = {}): ReturnType<typeof readRequest> =>
  readRequest(
    { body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)), place: 'topic[0]@7', key: more.key },
    more.pipeline,
  );
const fault = (body: unknown): PodlineError => {
  try {
    read(body);
  } catch (thrown) {
    return thrown as PodlineError;
  }
  throw new Error('it was taken');
};

describe('a message', () => {
  it('is a request in the words task, payload, resultDir and key', () => {
    const request = read({ task: 'flights', payload: [{ a: 1 }], resultDir: '/results', key: 'k' });
    expect(request.pipeline).toBe('flights');
    expect(submissionOf(request, flights)).toEqual({
      key: 'k',
      source: { inline: [{ a: 1 }], format: 'csv' },
      resultDir: '/results',
      parameters: {},
      priority: 5,
    });
    expect(submissionOf(read({ task: 'flights', payload: { uri: '/data/a.csv' }, resultDir: '/r' }), flights)).toMatchObject({
      source: { uri: '/data/a.csv', format: 'csv' },
    });
  });

  it('has its own key, else that of the broker, else the digest of what it says', () => {
    const words = { task: 'flights', payload: 'text', resultDir: '/r' };
    const keyOf = (body: object, key?: string): string => submissionOf(read(body, key === undefined ? {} : { key }), flights).key;
    expect(keyOf({ ...words, key: 'own' }, 'broker')).toBe('own');
    expect(keyOf(words, 'broker')).toBe('broker');
    expect(keyOf(words)).toBe(keyOf(words));
    expect(keyOf(words)).not.toBe(keyOf({ ...words, payload: 'other' }));
  });

  it('is a submission with its pipeline, or of the connector’s', () => {
    const submission = { key: 'k', source: { uri: '/a', format: 'bytes' } };
    expect(read({ pipeline: 'flights', ...submission })).toMatchObject({ form: 'submission', pipeline: 'flights' });
    expect(read(submission, { pipeline: 'trains' })).toMatchObject({ form: 'submission', pipeline: 'trains' });
    expect(read({ source: submission.source }, { pipeline: 'trains', key: 'b' })).toMatchObject({ submission: { key: 'b' } });
    expect(fault(submission).message).toContain('pipeline');
    expect(fault({ pipeline: 'flights', source: submission.source }).message).toContain('key');
  });

  it('that is none says where it is and what is missing', () => {
    expect(fault('{').message).toMatch(/topic\[0\]@7 is no request: it is not JSON/);
    expect(fault('[]').message).toContain('no JSON object');
    expect(fault({ payload: 'x', resultDir: '/r' }).message).toContain('task');
    expect(fault({ task: 'flights', resultDir: '/r' }).message).toContain('payload');
    expect(fault({ task: 'flights', payload: 'x', resultDir: '/r', colour: 'red' }).message).toContain('colour');
    expect(fault({ task: 'flights', payload: 'x', priority: 99 })).toMatchObject({
      code: 'PDL_REQUEST_INVALID',
      place: 'topic[0]@7',
    });
  });
});
