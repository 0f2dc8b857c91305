/**
 * Faults of a manifest: where each is, what was found there, and the way out.
 *
 * Owns the mapping from zod's issues to faults that a person can act on. The position comes from the YAML
 * document, the known keys from the JSON Schema of the manifest.
 */
import type { $ZodIssue } from 'zod/v4/core';
import { PodlineError, type ErrorCode } from '../contracts/errors.js';
import { nearest } from './nearest.js';

export type FieldPath = readonly (string | number)[];

export interface Fault {
  file: string;
  /** From 1. */
  line: number;
  /** From 1. */
  column: number;
  /** `spec.stages[2].after[0]`; empty for the document itself. */
  path: string;
  message: string;
  hint: string;
  /** A warning does not keep the pipeline from running here. */
  severity: 'error' | 'warning';
  code: ErrorCode;
}

/** A fault before it is known where in the file it is. */
export interface Finding {
  at: FieldPath;
  /** The key itself is the fault, not its value. */
  key?: boolean | undefined;
  message: string;
  hint: string;
  severity?: 'warning' | undefined;
  code?: ErrorCode | undefined;
}

/** All faults of one manifest in one error; `message` lists them, `place` is that of the first. */
export class ManifestError extends PodlineError {
  readonly faults: readonly Fault[];

  constructor(faults: readonly Fault[]) {
    const errors = faults.filter((fault) => fault.severity === 'error');
    const first = errors[0];
    if (first === undefined) throw new Error('a ManifestError needs an error');
    const code = errors.every((fault) => fault.code === first.code) ? first.code : 'PDL_MANIFEST_INVALID';
    const message =
      errors.length === 1
        ? describeFault(first, { hint: false })
        : `${errors.length} faults in ${first.file}\n${errors.map((fault) => `  ${describeFault(fault, { hint: true })}`).join('\n')}`;
    super(code, message, { place: placeOf(first), ...(errors.length === 1 && first.hint !== '' ? { hint: first.hint } : {}) });
    this.name = 'ManifestError';
    this.faults = faults;
  }
}

export const placeOf = (fault: Fault): string => `${fault.file}:${fault.line}:${fault.column}`;

/** `pipeline.yaml:12:7 spec.slots: …`, with its hint behind it where that is asked for. */
export function describeFault(fault: Fault, options: { hint: boolean }): string {
  const path = fault.path === '' ? '' : ` ${fault.path}:`;
  return `${placeOf(fault)}${path} ${fault.message}${options.hint && fault.hint !== '' ? ` (${fault.hint})` : ''}`;
}

export const pathText = (path: FieldPath): string =>
  path.map((part, index) => (typeof part === 'number' ? `[${part}]` : `${index === 0 ? '' : '.'}${part}`)).join('');

/** What the mapping needs to know of the JSON Schema of the manifest. */
export interface SchemaNode {
  properties?: Record<string, SchemaNode | boolean> | undefined;
  additionalProperties?: SchemaNode | boolean | undefined;
  items?: unknown;
  anyOf?: SchemaNode[] | undefined;
}

/** One issue of zod, whatever it was nested in, as findings. `valueAt` reads the value that stands at a path. */
export function findingsOf(
  issue: $ZodIssue,
  schema: SchemaNode,
  valueAt: (path: FieldPath) => unknown,
  base: FieldPath = [],
): Finding[] {
  const at: FieldPath = [...base, ...(issue.path as (string | number)[])];
  const value = valueAt(at);
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = keysAt(schema, at);
      return issue.keys.map((key) => ({
        at: [...at, key],
        key: true,
        message: `the key \`${key}\` is not known`,
        hint: knownHint(key, known),
      }));
    }
    case 'invalid_value': {
      const allowed = issue.values.map(String);
      if (value === undefined) return [missing(at, oneOf(allowed))];
      const near = typeof value === 'string' ? nearest(value, allowed) : undefined;
      return [
        {
          at,
          message: `${show(value)} is not allowed`,
          hint:
            near === undefined || allowed.length === 1
              ? `Write ${oneOf(allowed)}.`
              : `Did you mean \`${near}\`? Allowed: ${allowed.join(', ')}.`,
        },
      ];
    }
    case 'invalid_union':
      return ofUnion(issue.errors, schema, valueAt, at, value);
    case 'invalid_type':
      if (value === undefined) return [missing(at, article(issue.expected))];
      return [
        { at, message: `${show(value)} is not ${article(issue.expected)}`, hint: `Write ${article(issue.expected)} here.` },
      ];
    case 'too_small':
    case 'too_big': {
      const bound = issue.code === 'too_small' ? `at least ${String(issue.minimum)}` : `at most ${String(issue.maximum)}`;
      const what = issue.origin === 'string' ? 'characters' : issue.origin === 'array' ? 'entries' : '';
      const counted = what === '' ? bound : `${bound} ${what}`;
      return [
        {
          at,
          message: what === '' ? `${show(value)} is not ${bound}` : `${show(value)} does not have ${counted}`,
          hint: `Give ${counted}.`,
        },
      ];
    }
    case 'invalid_format':
      return [{ at, message: `${show(value)} ${issue.message}`, hint: '' }];
    default:
      return [{ at, message: issue.message, hint: '' }];
  }
}

/** Of the branches of a union, the one that was meant: the only one whose outer type fits. Otherwise all of them in one line. */
function ofUnion(
  branches: readonly (readonly $ZodIssue[])[],
  schema: SchemaNode,
  valueAt: (path: FieldPath) => unknown,
  at: FieldPath,
  value: unknown,
): Finding[] {
  const meant = branches.filter(
    (issues) =>
      !issues.some((issue) => issue.path.length === 0 && (issue.code === 'invalid_type' || issue.code === 'invalid_value')),
  );
  if (meant.length === 1) return meant[0]!.flatMap((issue) => findingsOf(issue, schema, valueAt, at));
  const expected = branches.flat().flatMap((issue) => {
    if (issue.path.length > 0) return [];
    if (issue.code === 'invalid_value') return issue.values.map((allowed) => `\`${String(allowed)}\``);
    if (issue.code === 'invalid_type') return [article(issue.expected)];
    return issue.code === 'invalid_format' ? [`text that ${issue.message}`] : [];
  });
  const choice = [...new Set(expected)].join(', or ');
  if (value === undefined) return [missing(at, choice)];
  const keys = keysAt(schema, at);
  return [
    {
      at,
      message: `${show(value)} is not allowed`,
      hint: choice !== '' ? `Write ${choice}.` : keys.length > 0 ? `Write one of the keys ${keys.join(', ')}.` : '',
    },
  ];
}

const missing = (at: FieldPath, expected: string): Finding => ({
  at,
  message: `\`${String(at.at(-1) ?? 'the manifest')}\` is missing`,
  hint: `Add it: ${expected}.`,
});

export function knownHint(word: string, known: readonly string[]): string {
  if (known.length === 0) return 'Remove it.';
  const near = nearest(word, known);
  return near === undefined ? `Known here: ${known.join(', ')}.` : `Did you mean \`${near}\`?`;
}

const oneOf = (allowed: readonly string[]): string =>
  allowed.length === 1 ? `\`${allowed[0]!}\`` : `one of ${allowed.map((word) => `\`${word}\``).join(', ')}`;

const article = (type: string): string =>
  ({
    int: 'a whole number',
    number: 'a number',
    string: 'text',
    boolean: 'true or false',
    object: 'a map of keys',
    record: 'a map of keys',
    array: 'a list',
    null: 'nothing',
  })[type] ?? type;

/** A value as it may stand in a message: short. */
export function show(value: unknown): string {
  if (value === null) return 'nothing';
  const text = typeof value === 'string' ? value : ((JSON.stringify(value) as string | undefined) ?? typeof value);
  return `\`${text.length > 60 ? `${text.slice(0, 57)}…` : text}\``;
}

/** The keys that the schema knows at a path. */
function keysAt(schema: SchemaNode, path: FieldPath): string[] {
  let nodes = expand([schema]);
  for (const part of path) {
    nodes = expand(
      nodes.flatMap((node) => {
        if (typeof part === 'number') return isSchema(node.items) ? [node.items] : [];
        const property = node.properties?.[part] ?? node.additionalProperties;
        return isSchema(property) ? [property] : [];
      }),
    );
  }
  return [...new Set(nodes.flatMap((node) => Object.keys(node.properties ?? {})))];
}

const isSchema = (value: unknown): value is SchemaNode => typeof value === 'object' && value !== null && !Array.isArray(value);

const expand = (nodes: SchemaNode[]): SchemaNode[] => nodes.flatMap((node) => [node, ...expand(node.anyOf ?? [])]);
