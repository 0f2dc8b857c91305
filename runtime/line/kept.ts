/**
 * Which columns of its input a stage passes on, under which names and in which order, and where its own stand among them.
 *
 * Invariants
 *  1. What is passed on is metadata: the data of a kept column stay where they are, whatever it is called.
 *  2. A name appears once. What the stage writes itself replaces what would be passed on under the same name, in its place.
 */
import type { StageDeclaration } from '../contracts/manifest.js';

/** One column of a stage's output. */
export interface LaidColumn {
  name: string;
  /** The column of the input that it is; absent where the stage writes it. */
  from?: string | undefined;
}

/** Something that `keep` or `rename` asks for and that the input does not allow. */
export interface KeepFault {
  at: 'keep' | 'rename';
  /** The column as the stage names it. */
  column: string;
  /** `missing`: the input has no such column. `taken`: a column that is kept has the new name already. */
  why: 'missing' | 'taken';
}

type Keeps = Pick<StageDeclaration, 'keep' | 'rename' | 'output'>;

/** @param input names of the columns that reach the stage, in order. */
export function layColumns(declares: Keeps, input: readonly string[]): { columns: LaidColumn[]; faults: KeepFault[] } {
  const own = Object.keys(declares.output ?? {});
  const faults: KeepFault[] = [];
  const kept =
    declares.keep === 'none'
      ? []
      : declares.keep === 'all'
        ? keptAll(declares, input, faults)
        : keptSome(declares, declares.keep, input, faults);
  const laid = new Map<string, LaidColumn>();
  for (const column of kept) laid.set(column.name, own.includes(column.name) ? { name: column.name } : column);
  for (const name of own) if (!laid.has(name)) laid.set(name, { name });
  return { columns: [...laid.values()], faults };
}

/** All columns in the order of the input, the renamed ones in the place of those that they were. */
function keptAll({ rename = {} }: Keeps, input: readonly string[], faults: KeepFault[]): LaidColumn[] {
  const renamed = Object.entries(rename);
  for (const [, from] of renamed) if (!input.includes(from)) faults.push({ at: 'rename', column: from, why: 'missing' });
  const moved = new Set(Object.values(rename));
  for (const [name] of renamed) {
    if (input.includes(name) && !moved.has(name)) faults.push({ at: 'rename', column: name, why: 'taken' });
  }
  return input.flatMap((name) =>
    moved.has(name)
      ? renamed.filter(([, from]) => from === name).map(([to, from]) => ({ name: to, from }))
      : [{ name, from: name }],
  );
}

/** The columns named, in that order; a name may be that of a renamed column or of one that the stage writes. */
function keptSome(
  { rename = {}, output = {} }: Keeps,
  keep: readonly string[],
  input: readonly string[],
  faults: KeepFault[],
): LaidColumn[] {
  return keep.flatMap((name): LaidColumn[] => {
    if (Object.hasOwn(output, name)) return [{ name }];
    const isRenamed = Object.hasOwn(rename, name);
    const from = isRenamed ? (rename[name] ?? name) : name;
    if (input.includes(from)) return [{ name, from }];
    faults.push({ at: isRenamed ? 'rename' : 'keep', column: from, why: 'missing' });
    return [];
  });
}
