/** The JSON Schema of what a pipeline takes as a submission: the general one, with this pipeline's parameters, format and columns in it. */
import { z } from 'zod';
import type { ColumnType } from '../contracts/block.js';
import type { ParameterSchema, Pipeline } from '../contracts/manifest.js';
import { submissionSchema } from '../contracts/shard.js';

type Json = Record<string, unknown>;

export function inputSchemaOf({ name, spec }: Pick<Pipeline, 'name' | 'spec'>): Json {
  const general = z.toJSONSchema(submissionSchema, { io: 'input', target: 'draft-2020-12', unrepresentable: 'any' }) as {
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
      source: sourceSchemaOf(general.properties['source'] ?? {}, spec.input),
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

/** By address or inline; rows that come inline have the columns that the manifest types. */
function sourceSchemaOf(general: Json, { format, columns }: Pipeline['spec']['input']): Json {
  const branches = (general['anyOf'] ?? []) as { properties?: Record<string, Json>; required?: string[] }[];
  const typed = columns === undefined || Array.isArray(columns) ? {} : columns;
  const names = columns === undefined ? [] : Array.isArray(columns) ? columns : Object.keys(columns);
  const row: Json = {
    type: 'object',
    properties: Object.fromEntries(names.map((column) => [column, cellSchemaOf(typed[column])])),
    ...(names.length === 0 ? {} : { required: names }),
  };
  const table = [row, { type: 'array', items: row }];
  const inline: Json = {
    description:
      'An object or an array of them, which is a table; a text; or `{ "base64": … }`: the content of a file of this format.',
    anyOf: [
      ...table,
      { type: 'string' },
      { type: 'object', properties: { base64: { type: 'string' } }, required: ['base64'], additionalProperties: false },
    ],
  };
  return {
    ...general,
    anyOf: branches.map((branch) => {
      const isInline = branch.properties !== undefined && 'inline' in branch.properties;
      return {
        ...branch,
        properties: {
          ...branch.properties,
          format: { const: format, description: 'As the pipeline reads it.' },
          ...(isInline ? { inline } : {}),
        },
      };
    }),
  };
}

/** A cell may always be missing. */
function cellSchemaOf(type: ColumnType | undefined): Json {
  if (type === undefined) return {};
  if (type.startsWith('list<')) return { type: ['array', 'null'] };
  if (type === 'utf8') return { type: ['string', 'null'] };
  if (type === 'bool') return { type: ['boolean', 'null'] };
  if (/^u?int(8|16|32)$/.test(type)) return { type: ['integer', 'null'] };
  if (/^float/.test(type)) return { type: ['number', 'null'] };
  // Wide integers, times and bytes may be written in several ways.
  return {};
}
