/** Parameters of a shard: defaults, text from a command line made into values, and every one that does not fit told. */
import { PodlineError } from '../contracts/errors.js';
import type { ParameterSchema, Parameters, ParameterValue, PipelineSpec } from '../contracts/manifest.js';
import { whyNot } from './checks.js';
import type { JsonSchema } from './json-schema.js';
import { nearest } from './nearest.js';

/**
 * The parameters of a shard as stages see them.
 *
 * @param given as submitted; text is read as what the schema asks for (`--param minDelay=15` gives the number 15).
 * @param place stands in the message: `--param`, `submission flights-01`.
 * Throws PDL_PARAMETER_INVALID naming every parameter that is wrong.
 */
export function resolveParameters(
  schema: Readonly<Record<string, ParameterSchema>>,
  given: Readonly<Record<string, unknown>>,
  place: string,
): Parameters {
  const wrong: string[] = [];
  const resolved: Parameters = {};
  for (const name of Object.keys(given)) {
    if (Object.hasOwn(schema, name)) continue;
    const near = nearest(name, Object.keys(schema));
    const known = Object.keys(schema).join(', ');
    wrong.push(
      `${name} is not a parameter of the pipeline${near !== undefined ? `: did you mean ${near}?` : known === '' ? ': it has none' : `: it has ${known}`}`,
    );
  }
  for (const [name, parameter] of Object.entries(schema)) {
    const value = Object.hasOwn(given, name) && given[name] !== undefined ? coerced(parameter, given[name]) : parameter.default;
    if (value === undefined) {
      wrong.push(`${name} is missing: it is ${article(parameter.type)} without a default`);
      continue;
    }
    const why = whyNot(parameter, value as ParameterValue);
    if (why === undefined) resolved[name] = value as ParameterValue;
    else wrong.push(`${name}: ${why}`);
  }
  if (wrong.length > 0) throw new PodlineError('PDL_PARAMETER_INVALID', `${place}: ${wrong.join('; ')}`, { place });
  return resolved;
}

/** Text that is written as a value of the type becomes it; all else stays as it is and is judged as that. */
function coerced({ type }: ParameterSchema, value: unknown): unknown {
  if (typeof value !== 'string') return value;
  switch (type) {
    case 'string':
      return value;
    case 'boolean':
      return value === 'true' ? true : value === 'false' ? false : value;
    case 'number':
    case 'integer':
      return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(value.trim()) ? Number(value) : value;
  }
}

const article = (type: string): string => (type === 'integer' ? 'an integer' : `a ${type}`);

/** What a caller may send as `parameters` of a shard, as JSON Schema: the words that the validator itself goes by. */
export function pipelineInputJsonSchema(pipeline: {
  name: string;
  spec: Pick<PipelineSpec, 'parameters' | 'description'>;
}): JsonSchema {
  const { parameters, description } = pipeline.spec;
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: `Parameters of a shard of ${pipeline.name}`,
    ...(description === undefined ? {} : { description }),
    type: 'object',
    properties: Object.fromEntries(Object.entries(parameters).map(([name, schema]) => [name, { ...schema } as JsonSchema])),
    required: Object.keys(parameters).filter((name) => parameters[name]?.default === undefined),
    additionalProperties: false,
  };
}
