/** What a stage's declaration means for given input columns: is everything there that it needs, and which columns come out. */
import type { ColumnSchema, StreamKind } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { Parameters, StageDeclaration } from '../contracts/manifest.js';
import { layColumns } from '../line/kept.js';
import type { AnyColumn } from './columns.js';
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

/** Throws PDL_STAGE_COLUMNS where a column that was declared without nulls has some, in its rows or in the items of its lists. */
export function checkNulls(stage: string, declaration: StageDeclaration, name: string, column: AnyColumn, block: number): void {
  const wanted = declaration.input?.[name];
  if (wanted === undefined || wanted.nullable === true) return;
  const inItems = 'items' in column ? column.items.nullCount : 0;
  if (column.nullCount === 0 && inItems === 0) return;
  const where = column.nullCount > 0 ? `${column.nullCount} nulls` : `${inItems} nulls in its lists`;
  throw new PodlineError('PDL_STAGE_COLUMNS', `column ${name} has ${where} in block ${block}, but stage ${stage} takes none`, {
    place: `${stage}.${name}`,
    hint: `Declare it as { type: '${column.type}', nullable: true }, or remove the nulls in a stage before.`,
  });
}

/** Columns of the output, in order: see `runtime/line/kept.ts`. Throws PDL_STAGE_COLUMNS where `keep` or `rename` ask for what is not there. */
export function outputSchema(stage: string, declaration: StageDeclaration, input: readonly ColumnSchema[]): ColumnSchema[] {
  if (kindOf(declaration.form) !== 'table') return [];
  const { columns, faults } = layColumns(
    declaration,
    input.map(({ name }) => name),
  );
  const [fault] = faults;
  if (fault !== undefined) {
    const { at, column, why } = fault;
    const message =
      why === 'taken'
        ? `stage ${stage} renames a column to ${column}, which its input has already`
        : `stage ${stage} ${at}s the column ${column}, which its input does not have`;
    throw new PodlineError('PDL_STAGE_COLUMNS', message, { place: `${stage}.${at}` });
  }
  const given = new Map(input.map((column) => [column.name, column]));
  return columns.flatMap(({ name, from }): ColumnSchema[] => {
    const kept = from === undefined ? undefined : given.get(from);
    if (kept !== undefined) return [{ ...kept, name }];
    const own = declaration.output?.[name];
    return own === undefined ? [] : [{ name, type: own.type, nullable: own.nullable === true }];
  });
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
