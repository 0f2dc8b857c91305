/**
 * The flow of columns through the graph: what reaches each stage, and whether it is what the stage asks for.
 *
 * Known is only what is declared: the schema of the source where it was read or typed, and what TypeScript stages declare.
 * What a command writes is not known before it has run, nor what follows from it; there nothing is refused.
 *
 * Invariants
 *  1. A fault found here would be one at run time too: what may turn out well is let through. Nulls are judged at run time.
 *  2. One fault for each column that is wrong, at the stage where it is wrong; what follows from it is not told again.
 */
import { inputStream, type ColumnSchema, type StreamKind } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { Pipeline, PipelineSpec, ResolvedStage, StageDeclaration } from '../contracts/manifest.js';
import { topologicalOrder } from './graph.js';
import { layColumns, type KeepFault } from './kept.js';

export interface ColumnFlow {
  /** Columns that each stage (and `input`) writes; undefined where they are not known before it has run. */
  perStage: Map<string, ColumnSchema[] | undefined>;
  /** PDL_STAGE_COLUMNS each. */
  faults: PodlineError[];
}

/** A column, the stage that wrote it and its name there: a stage that keeps or renames a column passes on the very same. */
interface Flowing extends ColumnSchema {
  from: string;
  was: string;
}
interface Stream {
  kind: StreamKind;
  columns: Flowing[] | undefined;
}

/** @param inputSchema the columns of the source, where it was looked into; without it those that `input.columns` gives types to. */
export function flowColumns(pipeline: Pick<Pipeline, 'spec' | 'stages'>, inputSchema?: readonly ColumnSchema[]): ColumnFlow {
  const faults: PodlineError[] = [];
  const streams = new Map<string, Stream>([[inputStream, inputOf(pipeline.spec, inputSchema)]]);
  for (const stage of topologicalOrder(pipeline.stages)) {
    const inputs = stage.after.flatMap((name) => streams.get(name) ?? []);
    const reaching = combined(stage, inputs, faults);
    if (reaching !== undefined && stage.declares !== undefined) check(stage.name, stage.declares, reaching, faults);
    streams.set(stage.name, outputOf(stage, reaching));
  }
  const perStage = new Map(
    [...streams].map(([name, { columns }]) => [
      name,
      columns?.map(({ name: column, type, nullable }) => ({ name: column, type, nullable })),
    ]),
  );
  return { perStage, faults };
}

function inputOf({ input }: PipelineSpec, schema: readonly ColumnSchema[] | undefined): Stream {
  if (input.format === 'bytes') return { kind: 'bytes', columns: [] };
  if (schema !== undefined)
    return { kind: 'table', columns: schema.map((column) => ({ ...column, from: inputStream, was: column.name })) };
  const { columns } = input;
  if (columns === undefined || Array.isArray(columns)) return { kind: 'table', columns: undefined };
  // Whether a column of the source has nulls is not written in the manifest.
  return {
    kind: 'table',
    columns: Object.entries(columns).map(([name, type]) => ({ name, type, nullable: true, from: inputStream, was: name })),
  };
}

/** What several inputs are together; undefined where they do not go together (a fault) or there is none. */
function combined(stage: ResolvedStage, inputs: readonly Stream[], faults: PodlineError[]): Stream | undefined {
  const [first] = inputs;
  if (first === undefined || inputs.length === 1) return first;
  // Commands and stages of the form files see each input by itself.
  if (stage.declares === undefined || stage.declares.form === 'files') return { kind: 'files', columns: undefined };
  const odd = inputs.findIndex(({ kind }) => kind !== first.kind);
  if (odd > 0) {
    faults.push(
      refusal(
        stage.name,
        `${stage.after[0] ?? ''} gives ${kindWords[first.kind]}, ${stage.after[odd] ?? ''} gives ${kindWords[inputs[odd]!.kind]}`,
      ),
    );
    return undefined;
  }
  if (inputs.some(({ columns }) => columns === undefined)) return { kind: first.kind, columns: undefined };
  return stage.combine === 'zip' ? zipped(stage, inputs, faults) : concatenated(stage, inputs, faults);
}

function zipped(stage: ResolvedStage, inputs: readonly Stream[], faults: PodlineError[]): Stream | undefined {
  if (inputs[0]?.kind !== 'table') {
    faults.push(refusal(stage.name, 'only columns can be put side by side', 'Use `combine: concat`.'));
    return undefined;
  }
  const byName = new Map<string, Flowing>();
  for (const column of inputs.flatMap(({ columns }) => columns ?? [])) {
    const known = byName.get(column.name);
    if (known === undefined) byName.set(column.name, column);
    else if (known.from !== column.from || known.was !== column.was) {
      faults.push(
        refusal(
          stage.name,
          known.from === column.from
            ? `${known.was} and ${column.was} of ${column.from} both reach it as ${column.name}`
            : `both ${known.from} and ${column.from} write a column ${column.name}`,
          'Give it another name in one of them.',
          column.name,
        ),
      );
    }
  }
  return { kind: 'table', columns: [...byName.values()] };
}

function concatenated(stage: ResolvedStage, inputs: readonly Stream[], faults: PodlineError[]): Stream | undefined {
  const [first] = inputs;
  const columns = first?.columns ?? [];
  for (const [index, other] of inputs.entries()) {
    for (const name of new Set([...columns, ...(other.columns ?? [])].map((column) => column.name))) {
      const [here, there] = [
        columns.find((column) => column.name === name),
        other.columns?.find((column) => column.name === name),
      ];
      if (here?.type === there?.type) continue;
      const [a, b] = [stage.after[0] ?? '', stage.after[index] ?? ''];
      const message = `column ${name} is ${here?.type ?? 'not there'} in ${a} and ${there?.type ?? 'not there'} in ${b}`;
      faults.push(refusal(stage.name, message, 'Streams that are put one after another must have the same columns.', name));
      return undefined;
    }
  }
  const nullable = (name: string): boolean =>
    inputs.some((input) => input.columns?.some((column) => column.name === name && column.nullable));
  return {
    kind: first?.kind ?? 'table',
    columns: columns.map((column) => ({ ...column, nullable: nullable(column.name), from: stage.name, was: column.name })),
  };
}

function check(stage: string, declares: StageDeclaration, { kind, columns }: Stream, faults: PodlineError[]): void {
  if (declares.form === 'files') return;
  if ((declares.form === 'bytes') === (kind === 'table')) {
    const asked = declares.form === 'bytes' ? 'bytes' : 'columns';
    faults.push(
      new PodlineError('PDL_STAGE_COLUMNS', `stage ${stage} works on ${asked}, and ${kindWords[kind]} reach it`, {
        place: stage,
      }),
    );
    return;
  }
  if (columns === undefined) return;
  for (const [name, { type }] of Object.entries(declares.input ?? {})) {
    const column = columns.find((candidate) => candidate.name === name);
    if (column?.type === type) continue;
    const there =
      column === undefined ? `what reaches it has ${list(columns)}` : `it reaches it as ${column.type} from ${column.from}`;
    faults.push(
      new PodlineError('PDL_STAGE_COLUMNS', `stage ${stage} asks for the column ${name} of type ${type}; ${there}`, {
        place: `${stage}.${name}`,
      }),
    );
  }
  for (const { at, column, why } of layColumns(
    declares,
    columns.map(({ name }) => name),
  ).faults) {
    faults.push(
      new PodlineError('PDL_STAGE_COLUMNS', `stage ${stage} ${keepWords(at, column, why)} what reaches it has ${list(columns)}`, {
        place: `${stage}.${at}`,
      }),
    );
  }
}

const keepWords = (at: KeepFault['at'], column: string, why: KeepFault['why']): string =>
  why === 'taken'
    ? `renames a column to ${column}, which is the name of another;`
    : `${at === 'keep' ? 'keeps' : 'renames'} the column ${column};`;

function outputOf(stage: ResolvedStage, reaching: Stream | undefined): Stream {
  const { declares, name: from } = stage;
  if (declares === undefined)
    return stage.output === 'table' ? { kind: 'table', columns: undefined } : { kind: stage.output, columns: [] };
  const { form, keep, output = {} } = declares;
  if (form === 'bytes' || form === 'files') return { kind: form, columns: [] };
  const reached = reaching?.columns;
  if (reached === undefined && keep !== 'none') return { kind: 'table', columns: undefined };
  const laid = layColumns(declares, reached?.map(({ name }) => name) ?? []).columns;
  const columns = laid.flatMap(({ name, from: taken }): Flowing[] => {
    const own = output[name];
    if (taken === undefined)
      return own === undefined ? [] : [{ name, type: own.type, nullable: own.nullable === true, from, was: name }];
    return (reached ?? []).filter((column) => column.name === taken).map((column) => ({ ...column, name }));
  });
  return { kind: 'table', columns };
}

const kindWords: Record<StreamKind, string> = { table: 'columns', bytes: 'bytes', files: 'files' };

const list = (columns: readonly ColumnSchema[]): string =>
  columns.map(({ name, type }) => `${name} ${type}`).join(', ') || 'no columns';

const refusal = (stage: string, message: string, hint?: string, column?: string): PodlineError =>
  new PodlineError('PDL_STAGE_COLUMNS', `the inputs of stage ${stage} do not go together: ${message}`, {
    place: column === undefined ? stage : `${stage}.${column}`,
    ...(hint === undefined ? {} : { hint }),
  });
