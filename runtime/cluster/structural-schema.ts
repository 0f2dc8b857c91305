/**
 * From JSON Schema (as zod writes it) to what a custom resource definition takes: a *structural* schema. Pure.
 *
 * Structural means that every node has one type, that defaults and descriptions stand outside of alternatives, and that nothing
 * refers to anything elsewhere. What zod says with alternatives becomes
 *   - a quantity, or a word beside a number → `x-kubernetes-int-or-string`, with the word or pattern for the string;
 *   - objects of which one must be there → one object with all their fields, and a rule that exactly one is set;
 *   - anything else → `x-kubernetes-preserve-unknown-fields`: taken as it is, and judged by the coordinator.
 *
 * Invariants
 *  1. What the API server takes may still be refused by the coordinator, in a condition; what the coordinator takes the API server
 *     takes too, with one exception: a number with a fraction where a quantity is asked for must be written as text ('0.5', 500m).
 *  2. Defaults are the coordinator's, so that the stored object is what a person wrote; a description says them. Only fields that the
 *     API server itself reads are defaulted by it (`keepDefaults`).
 */
import type { JsonSchema } from '../config/json-schema.js';

export interface ValidationRule {
  rule: string;
  message: string;
}
export interface StructuralSchema {
  format?: 'date-time';
  type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  description?: string;
  default?: unknown;
  properties?: Record<string, StructuralSchema>;
  additionalProperties?: StructuralSchema;
  items?: StructuralSchema;
  required?: string[];
  enum?: unknown[];
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  anyOf?: { type: 'integer' | 'string' }[];
  'x-kubernetes-int-or-string'?: true;
  'x-kubernetes-preserve-unknown-fields'?: true;
  'x-kubernetes-list-type'?: 'map';
  'x-kubernetes-list-map-keys'?: string[];
  'x-kubernetes-validations'?: ValidationRule[];
}

export interface StructuralOptions {
  /** Rules by path: `spec.stages[]`, `spec.parameters.*`. */
  rules?: Readonly<Record<string, readonly ValidationRule[]>> | undefined;
  /** Lists, by path, whose items are told apart by a field. */
  mapLists?: Readonly<Record<string, string>> | undefined;
  /** Fields, by path, which the API server sets. */
  keepDefaults?: readonly string[] | undefined;
}

/** `path` names the schema in the options. Throws a TypeError for what cannot be said: a fault of the schema, found when it is generated. */
export function structuralSchema(schema: JsonSchema, path: string, options: StructuralOptions = {}): StructuralSchema {
  const rules = [...(options.rules?.[path] ?? [])];
  const body = bodyOf(schema, path, options, rules);
  const key = options.mapLists?.[path];
  return {
    ...(descriptionOf(schema) === undefined ? {} : { description: descriptionOf(schema) ?? '' }),
    ...body,
    ...(options.keepDefaults?.includes(path) === true && schema.default !== undefined ? { default: schema.default } : {}),
    ...(key === undefined ? {} : { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': [key] }),
    ...(rules.length === 0 ? {} : { 'x-kubernetes-validations': rules }),
  };
}

function descriptionOf({ description, default: fallback }: JsonSchema): string | undefined {
  const said = fallback === undefined || isEmpty(fallback) ? undefined : `Default: ${JSON.stringify(fallback)}.`;
  const words = [description, said].filter((part) => part !== undefined);
  return words.length === 0 ? undefined : words.join(' ');
}

const isEmpty = (value: unknown): boolean => typeof value === 'object' && value !== null && Object.keys(value).length === 0;
const anything: StructuralSchema = { 'x-kubernetes-preserve-unknown-fields': true };

function bodyOf(schema: JsonSchema, path: string, options: StructuralOptions, rules: ValidationRule[]): StructuralSchema {
  if (schema.anyOf !== undefined) return alternatives(schema.anyOf, path, options, rules);
  if (schema.const !== undefined) return { type: typeOf(schema, path), enum: [schema.const] };
  switch (schema.type) {
    case 'object':
      return objectOf(schema, path, options);
    case 'array':
      return {
        type: 'array',
        items: structuralSchema(schema.items as JsonSchema, `${path}[]`, options),
        ...pick(schema, 'minItems', 'maxItems'),
      };
    case 'string':
      return { type: 'string', ...pick(schema, 'enum', 'pattern', 'minLength', 'maxLength') };
    case 'integer':
    case 'number':
      return { type: schema.type, ...boundsOf(schema) };
    case 'boolean':
      return { type: 'boolean' };
    // Several types at once, or none: any value.
    default:
      return anything;
  }
}

function objectOf(schema: JsonSchema, path: string, options: StructuralOptions): StructuralSchema {
  const fields = Object.entries((schema.properties ?? {}) as Record<string, JsonSchema>);
  const { additionalProperties } = schema;
  if (fields.length === 0 && typeof additionalProperties === 'object')
    return { type: 'object', additionalProperties: structuralSchema(additionalProperties, `${path}.*`, options) };
  return {
    type: 'object',
    properties: Object.fromEntries(fields.map(([name, field]) => [name, structuralSchema(field, `${path}.${name}`, options)])),
    ...(schema.required === undefined || schema.required.length === 0 ? {} : { required: [...schema.required] }),
  };
}

function alternatives(
  forms: readonly JsonSchema[],
  path: string,
  options: StructuralOptions,
  rules: ValidationRule[],
): StructuralSchema {
  const [text, number] = [
    forms.find((form) => form.type === 'string'),
    forms.find((form) => form.type === 'integer' || form.type === 'number'),
  ];
  if (forms.length === 2 && text !== undefined && number !== undefined) {
    const words = text.const === undefined ? text.pattern : `^${String(text.const)}$`;
    return {
      anyOf: [{ type: 'integer' }, { type: 'string' }],
      'x-kubernetes-int-or-string': true,
      ...boundsOf(number),
      ...(words === undefined ? {} : { pattern: words }),
    };
  }
  if (forms.every((form) => form.type === 'object' && form.properties !== undefined)) {
    const names = forms.flatMap((form) => Object.keys(form.properties ?? {}));
    rules.push({
      rule: `[${names.map((name) => `has(self.${name})`).join(', ')}].exists_one(set, set)`,
      message: `set exactly one of ${names.join(', ')}`,
    });
    const properties = forms.flatMap((form) => Object.entries((form.properties ?? {}) as Record<string, JsonSchema>));
    return {
      type: 'object',
      properties: Object.fromEntries(
        properties.map(([name, field]) => [name, structuralSchema(field, `${path}.${name}`, options)]),
      ),
    };
  }
  return anything;
}

function typeOf(schema: JsonSchema, path: string): 'string' | 'integer' | 'boolean' {
  const { type } = schema;
  if (type === 'string' || type === 'integer' || type === 'boolean') return type;
  throw new TypeError(`${path}: a constant of type ${String(type)} has no structural form`);
}

/** Zod bounds integers by what a double can hold, which says nothing. */
function boundsOf(schema: JsonSchema): Pick<StructuralSchema, 'minimum' | 'maximum'> {
  // An exclusive bound is one of whole numbers: `positive`.
  const least = schema.minimum ?? (typeof schema.exclusiveMinimum === 'number' ? schema.exclusiveMinimum + 1 : undefined);
  const isSaid = (bound: number | undefined): bound is number => bound !== undefined && Math.abs(bound) < Number.MAX_SAFE_INTEGER;
  return {
    ...(isSaid(least) ? { minimum: least } : {}),
    ...(isSaid(schema.maximum) ? { maximum: schema.maximum } : {}),
  };
}

function pick<K extends 'enum' | 'pattern' | 'minLength' | 'maxLength' | 'minItems' | 'maxItems'>(
  schema: JsonSchema,
  ...names: K[]
): Pick<StructuralSchema, K> {
  return Object.fromEntries(
    names.flatMap((name) => (schema[name] === undefined ? [] : [[name, schema[name]]])),
  ) as unknown as Pick<StructuralSchema, K>;
}
