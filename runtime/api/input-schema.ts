/** The JSON Schema of what a pipeline takes as a submission: the general one, with this pipeline's parameters, groups, format and columns in it. */
import { z } from 'zod';
import type { ParameterSchema, Pipeline } from '../contracts/manifest.js';
import { submissionSchema } from '../contracts/shard.js';
import { sourceSchemaOf } from '../coordinator/source-schema.js';
import { groupNames } from '../line/groups.js';

type Json = Record<string, unknown>;

export function inputSchemaOf({ name, spec }: Pick<Pipeline, 'name' | 'spec'>): Json {
  const { group } = submissionSchema.shape;
  const own = submissionSchema.extend({
    source: sourceSchemaOf(spec.input),
    group: z
      .enum(groupNames(spec.groups))
      .optional()
      .describe(group.description ?? ''),
  });
  const general = z.toJSONSchema(own, { io: 'input', target: 'draft-2020-12' }) as {
    properties: Record<string, Json>;
    required: string[];
  };
  const required = Object.entries(spec.parameters).flatMap(([parameter, { default: fallback }]) =>
    fallback === undefined ? [parameter] : [],
  );
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: `https://podline.dev/schemas/pipelines/${name}.json`,
    title: `A submission to ${name}`,
    ...(spec.description === undefined ? {} : { description: spec.description }),
    type: 'object',
    properties: {
      ...general.properties,
      parameters: {
        type: 'object',
        properties: Object.fromEntries(
          Object.entries(spec.parameters).map(([parameter, schema]) => [parameter, valueSchemaOf(schema)]),
        ),
        additionalProperties: false,
        ...(required.length === 0 ? {} : { required }),
      },
    },
    required: required.length === 0 ? general.required : [...general.required, 'parameters'],
    additionalProperties: false,
  };
}

const valueSchemaOf = ({ description, ...rest }: ParameterSchema): Json => ({
  ...rest,
  ...(description === undefined ? {} : { description }),
});
