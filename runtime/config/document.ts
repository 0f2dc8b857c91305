/** A YAML (or JSON) file of Podline's other than a manifest: read, held against its schema, with every fault at its place. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { PodlineError } from '../contracts/errors.js';
import { ManifestError, findingsOf, type FieldPath, type Fault } from './faults.js';
import { parseYaml } from './manifest.js';

export interface DocumentOptions<S extends z.ZodType> {
  schema: S;
  /** What it is, for messages: `token file`. */
  kind: string;
  /** What stands before the file, by path: where it comes from, for messages, and its value. */
  overrides?: readonly { from: string; at: readonly string[]; value: string }[] | undefined;
}

/** Throws PDL_CONFIG_INVALID with every fault, or where there is no such file. */
export async function readDocument<S extends z.ZodType>(file: string, options: DocumentOptions<S>): Promise<z.output<S>> {
  const text = await readFile(file, 'utf8').catch((thrown: unknown) => {
    throw new PodlineError(
      'PDL_CONFIG_INVALID',
      `the ${options.kind} ${file} cannot be read: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
      {
        place: file,
        hint: 'Name a file that is there and may be read.',
        cause: thrown,
      },
    );
  });
  return parseDocument(text, file, options);
}

/** `file` stands in messages only. */
export function parseDocument<S extends z.ZodType>(
  text: string,
  file: string,
  { schema, overrides = [] }: DocumentOptions<S>,
): z.output<S> {
  const { document, faults, locate } = parseYaml(text, file);
  if (document === undefined) throw new ManifestError(faults.map(asConfigFault));
  const raw = withOverrides(document.toJS() as unknown, overrides);
  const parsed = schema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const shape = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Parameters<typeof findingsOf>[1];
  const valueAt = (path: FieldPath): unknown =>
    path.reduce<unknown>(
      (value, part) => (typeof value === 'object' && value !== null ? Reflect.get(value, part) : undefined),
      raw,
    );
  const found = parsed.error.issues
    .flatMap((issue) => findingsOf(issue, shape, valueAt))
    .map((finding): Fault => {
      const override = overrides.find(({ at }) => at.join('.') === finding.at.join('.'));
      const fault = asConfigFault(locate(finding));
      return override === undefined ? fault : { ...fault, file: override.from, line: 1, column: 1 };
    });
  throw new ManifestError(found.sort((a, b) => a.line - b.line || a.column - b.column));
}

const asConfigFault = (fault: Fault): Fault => ({ ...fault, code: 'PDL_CONFIG_INVALID' });

/** An empty file is an empty map. Numbers are written as text in the environment. */
function withOverrides(raw: unknown, overrides: NonNullable<DocumentOptions<z.ZodType>['overrides']>): unknown {
  if (overrides.length === 0) return raw ?? {};
  const copy: unknown = structuredClone(raw ?? {});
  for (const { at, value } of overrides) {
    let place = copy;
    for (const part of at.slice(0, -1)) {
      if (typeof place !== 'object' || place === null) break;
      const record = place as Record<string, unknown>;
      place = record[part] ??= {};
    }
    const last = at.at(-1);
    if (typeof place === 'object' && place !== null && last !== undefined)
      (place as Record<string, unknown>)[last] = /^\d+$/.test(value) && last === 'port' ? Number(value) : value;
  }
  return copy;
}
