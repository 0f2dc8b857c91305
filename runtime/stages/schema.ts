/** What a stage's declaration means for given input columns: is everything there that it needs, and which columns come out. */
import type { ColumnRef, ColumnSchema, StreamKind } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { Parameters, StageDeclaration } from '../contracts/manifest.js';
import type { ParameterTypes } from './define.js';

/** Kind of the stream that a form writes. */
export const kindOf = (form: StageDeclaration['form']): StreamKind => (form === 'bytes' || form === 'files' ? form : 'table');

/** Throws PDL_STAGE_COLUMNS where a declared column is missing or of another type. Nulls are judged block by block. */
export function checkInput(
  stage: string,
  declaration: StageDeclaration,
  kind: StreamKind,
  schema: readonly ColumnSchema[],
): void {
  const { form } = declaration;
  if (form === 'files') return;
  if (form === 'bytes' ? kind === 'table' : kind !== 'table') {
    throw new PodlineError(
      'PDL_STAGE_COLUMNS',
      `stage ${stage} works on ${form === 'bytes' ? 'bytes' : 'columns'}, but its input is a stream of ${kind}`,
      { place: stage },
    );
  }
  const given = schema.map((column) => `${column.name} ${column.type}`).join(', ');
  for (const [name, wanted] of Object.entries(declaration.input ?? {})) {
    const column = schema.find((candidate) => candidate.name === name);
    if (column === undefined) {
      throw new PodlineError(
        'PDL_STAGE_COLUMNS',
        `stage ${stage} needs the column ${name} (${wanted.type}); its input has ${given || 'no columns'}`,
        { place: `${stage}.${name}` },
      );
    }
    if (column.type !== wanted.type) {
      throw new PodlineError(
        'PDL_STAGE_COLUMNS',
        `stage ${stage} needs the column ${name} as ${wanted.type}; its input has it as ${column.type}`,
        { place: `${stage}.${name}` },
      );
    }
  }
}

/** Throws PDL_STAGE_COLUMNS where a column that was declared without nulls has some. */
export function checkNulls(stage: string, declaration: StageDeclaration, column: ColumnRef, block: number): void {
  const wanted = declaration.input?.[column.name];
  if (wanted === undefined || wanted.nullable === true || column.nullCount === 0) return;
  throw new PodlineError(
    'PDL_STAGE_COLUMNS',
    `column ${column.name} has ${column.nullCount} nulls in block ${block}, but stage ${stage} takes none`,
    {
      place: `${stage}.${column.name}`,
      hint: `Declare it as { type: '${column.type}', nullable: true }, or remove the nulls in a stage before.`,
    },
  );
}

export const isKept = (keep: StageDeclaration['keep'], name: string): boolean =>
  Array.isArray(keep) ? keep.includes(name) : keep === 'all';

/** Columns of the output: those kept, in the order of the input, each replaced where the output has one of its name; then the new ones. */
export function outputSchema(stage: string, declaration: StageDeclaration, input: readonly ColumnSchema[]): ColumnSchema[] {
  if (kindOf(declaration.form) !== 'table') return [];
  const { keep } = declaration;
  if (Array.isArray(keep)) {
    const missing = keep.find((name) => !input.some((column) => column.name === name));
    if (missing !== undefined)
      throw new PodlineError('PDL_STAGE_COLUMNS', `stage ${stage} keeps the column ${missing}, which its input does not have`, {
        place: `${stage}.keep`,
      });
  }
  const own = new Map(
    Object.entries(declaration.output ?? {}).map(([name, { type, nullable }]) => [
      name,
      { name, type, nullable: nullable === true },
    ]),
  );
  const schema = input.filter(({ name }) => isKept(keep, name)).map((column) => own.get(column.name) ?? column);
  return [...schema, ...[...own.values()].filter(({ name }) => !schema.some((column) => column.name === name))];
}

/** Throws PDL_PARAMETER_INVALID where a parameter that the stage declares is missing or of another type. */
export function checkParameters(stage: string, types: ParameterTypes | undefined, parameters: Parameters): void {
  for (const [name, type] of Object.entries(types ?? {})) {
    const value = parameters[name];
    if (typeof value === type) continue;
    throw new PodlineError(
      'PDL_PARAMETER_INVALID',
      `stage ${stage} needs the parameter ${name} as a ${type}; it is ${value === undefined ? 'not given' : JSON.stringify(value)}`,
      {
        place: `${stage}.parameters.${name}`,
      },
    );
  }
}
