import { describe, expect, it } from 'vitest';
import { pipelineInputJsonSchema, resolveParameters } from '../../../runtime/config/parameters.js';
import type { ParameterSchema } from '../../../runtime/contracts/manifest.js';

const schema: Record<string, ParameterSchema> = {
  minDelay: { type: 'integer', default: 15, minimum: 0, maximum: 600 },
  ratio: { type: 'number', default: 0.5 },
  state: { type: 'string', enum: ['CA', 'TX'] },
  code: { type: 'string', pattern: '^[A-Z]{3}$', default: 'SFO' },
  verbose: { type: 'boolean', default: false },
};

describe('parameters of a shard', () => {
  it('take their defaults where none is given', () => {
    expect(resolveParameters(schema, { state: 'CA' }, 'test')).toEqual({
      minDelay: 15,
      ratio: 0.5,
      state: 'CA',
      code: 'SFO',
      verbose: false,
    });
  });

  it('are read from text as what the schema asks for', () => {
    expect(
      resolveParameters(schema, { state: 'TX', minDelay: '20', ratio: '-1.5e2', verbose: 'true', code: 'LAX' }, '--param'),
    ).toEqual({
      minDelay: 20,
      ratio: -150,
      state: 'TX',
      code: 'LAX',
      verbose: true,
    });
  });

  it('keep text that looks like a number where text is asked for', () => {
    expect(resolveParameters({ id: { type: 'string' } }, { id: '007' }, 'test')).toEqual({ id: '007' });
  });

  it.each([
    ['a missing one', {}, 'state is missing: it is a string without a default'],
    [
      'an unknown one, with the nearest',
      { state: 'CA', minDelya: 5 },
      'minDelya is not a parameter of the pipeline: did you mean minDelay?',
    ],
    ['one of another type', { state: 'CA', minDelay: 'soon' }, 'minDelay: `soon` is not of type integer'],
    ['empty text as a number', { state: 'CA', minDelay: '' }, 'minDelay: `` is not of type integer'],
    ['a fraction where a whole number is asked for', { state: 'CA', minDelay: 1.5 }, 'minDelay: `1.5` is not of type integer'],
    ['no number', { state: 'CA', ratio: Number.NaN }, 'ratio: `null` is not of type number'],
    ['one outside its enumeration', { state: 'NY' }, 'state: `NY` is none of CA, TX'],
    ['one below its minimum', { state: 'CA', minDelay: -1 }, 'minDelay: `-1` is less than 0'],
    ['one above its maximum', { state: 'CA', minDelay: '601' }, 'minDelay: `601` is more than 600'],
    ['one that does not match', { state: 'CA', code: 'sfo' }, 'code: `sfo` does not match ^[A-Z]{3}$'],
    ['an inherited name', { state: 'CA', constructor: 1 }, 'constructor is not a parameter of the pipeline'],
  ])('refuse %s', (_, given, message) => {
    expect(() => resolveParameters(schema, given, 'shard k1')).toThrow(
      expect.objectContaining({ code: 'PDL_PARAMETER_INVALID', message: expect.stringContaining(`shard k1: ${message}`) }),
    );
  });

  it('are told together when several are wrong', () => {
    expect(() => resolveParameters(schema, { minDelay: -1, ratio: 'x' }, 'p')).toThrow(/minDelay.*; ratio.*; state is missing/);
  });
});

it('the JSON Schema of a shard’s parameters says the same', () => {
  expect(pipelineInputJsonSchema({ name: 'flights', spec: { parameters: schema, description: undefined } })).toMatchObject({
    type: 'object',
    required: ['state'],
    additionalProperties: false,
    properties: { minDelay: { type: 'integer', default: 15, minimum: 0, maximum: 600 }, code: { pattern: '^[A-Z]{3}$' } },
  });
});
