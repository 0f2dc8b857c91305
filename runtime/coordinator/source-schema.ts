/**
 * What a pipeline takes as the source of a shard, as one zod schema: submissions are judged by it here, and the API serves it as JSON
 * Schema, so that both always say the same. Pure.
 *
 * Of what lies at an address only the line sees more than the format, and of a text or of base64 only who reads it.
 */
import { z } from 'zod';
import { itemTypes, type ColumnType } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { inputFormats, type InputFormat, type Pipeline, type PipelineSpec } from '../contracts/manifest.js';
import { shardSourceSchema, type ShardSource } from '../contracts/shard.js';

type Input = Pick<PipelineSpec['input'], 'format' | 'columns'>;

/** By address or inline, bytes or a table as the pipeline reads it. */
export function sourceSchemaOf(input: Input): z.ZodType {
  const [byAddress] = shardSourceSchema.options;
  const format = z
    .enum(formatsOf(input.format))
    .describe(
      input.format === 'bytes' ? 'The pipeline reads bytes.' : 'The pipeline reads tables, whatever they are written in.',
    );
  return z.union([
    z.strictObject({ ...byAddress.shape, format }),
    z.strictObject({ inline: inlineSchemaOf(rowSchemaOf(input)), format }),
  ]);
}

/** Bytes are read as they are; tables become columns, whichever way they come. */
const formatsOf = (format: InputFormat): [InputFormat, ...InputFormat[]] =>
  format === 'bytes' ? ['bytes'] : [format, ...inputFormats.filter((other) => other !== 'bytes' && other !== format)];

const inlineSchemaOf = (row: z.ZodType): z.ZodType =>
  z
    .union([row, z.array(row), z.string(), z.strictObject({ base64: z.string() })])
    .describe(
      'An object or an array of them, which is a table; a text; or `{ "base64": … }`: the content of a file of this format.',
    );

/** Rows that come inline have every column that the manifest names, of the type that it gives; others are left out. */
function rowSchemaOf({ columns }: Input): z.ZodType {
  if (columns === undefined) return z.looseObject({});
  const cells = Array.isArray(columns)
    ? columns.map((name) => [name, z.unknown()] as const)
    : Object.entries(columns).map(([name, type]) => [name, cellSchemaOf(type)] as const);
  return z.looseObject(Object.fromEntries(cells));
}

/** A value may always be missing: null. What JSON cannot write as a number comes as text. */
function cellSchemaOf(type: ColumnType): z.ZodType {
  switch (type) {
    case 'int8':
    case 'int16':
    case 'int32':
    case 'uint8':
    case 'uint16':
    case 'uint32':
      return z.int().min(bounds[type][0]).max(bounds[type][1]).nullable();
    case 'float32':
    case 'float64':
      return z.number().nullable();
    case 'bool':
      return z.boolean().nullable();
    case 'utf8':
    case 'dictionary':
      return z.string().nullable();
    case 'uint64':
      return z.union([z.int().nonnegative(), z.string()]).nullable();
    case 'int64':
    case 'timestamp[ms]':
    case 'timestamp[us]':
    case 'date32':
      return z.union([z.int(), z.string()]).nullable();
    default: {
      const item = itemTypes.find((name) => type === `list<${name}>`);
      return z.array(item === undefined ? z.unknown() : cellSchemaOf(item)).nullable();
    }
  }
}

const bounds = {
  int8: [-128, 127],
  int16: [-32_768, 32_767],
  int32: [-2_147_483_648, 2_147_483_647],
  uint8: [0, 255],
  uint16: [0, 65_535],
  uint32: [0, 4_294_967_295],
} as const;

interface InlineSchemas {
  row: z.ZodType;
  whole: z.ZodType;
}

/** A pipeline that is applied anew is another object. */
const known = new WeakMap<Pipeline, InlineSchemas>();

function inlineSchemasOf(pipeline: Pipeline): InlineSchemas {
  let schemas = known.get(pipeline);
  if (schemas === undefined) {
    const row = rowSchemaOf(pipeline.spec.input);
    known.set(pipeline, (schemas = { row, whole: inlineSchemaOf(row) }));
  }
  return schemas;
}

/** Throws PDL_REQUEST_INVALID naming what does not fit. For a source at an address it costs a comparison. */
export function checkSource(pipeline: Pipeline, source: ShardSource): void {
  const { format } = pipeline.spec.input;
  if ((source.format === 'bytes') !== (format === 'bytes')) {
    throw new PodlineError('PDL_REQUEST_INVALID', `pipeline ${pipeline.name} reads ${format}, not ${source.format}`, {
      place: 'source.format',
      hint: `Give the source as ${formatsOf(format).join(', ')}, or set \`input.format\` of the pipeline.`,
    });
  }
  if ('uri' in source) return;
  const { row, whole } = inlineSchemasOf(pipeline);
  const { inline } = source;
  if (whole.safeParse(inline).success) return;
  // What is neither is told as the row that it is not.
  const issue = (Array.isArray(inline) ? z.array(row) : row).safeParse(inline).error?.issues[0];
  const place = ['source.inline', ...(issue?.path ?? []).map(String)].join('.');
  throw new PodlineError('PDL_REQUEST_INVALID', `${place}: ${issue?.message ?? 'it does not fit'}`, {
    place,
    hint: `What pipeline ${pipeline.name} takes: GET /v1/pipelines/${pipeline.name}/schema.`,
  });
}
