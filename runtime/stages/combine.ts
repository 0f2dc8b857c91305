/**
 * What a stage with several inputs reads: their blocks put together, side by side (zip) or one after another (concat).
 * Pure: works on records alone, no byte of data is touched, and block records are asked for one at a time. Streams may still grow: their
 * records are looked at each time, and whoever reads a growing one keeps its record new.
 *
 * Invariants
 *  1. zip demands block by block equal rows; a column that all streams hold by the same reference appears once, and two
 *     different columns of one name are an error, never a silent choice.
 *  2. concat demands the same columns of all; their order is that of the first stream.
 *  3. A block that is there once stays the same: of growing streams, zip has the blocks that all of them have, concat those in
 *     front of which every stream is whole.
 */
import type { ArrayRef, BlockRecord, BufferRef, ColumnRef, ColumnSchema, StreamKind, StreamRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';

export type InputStream = Pick<StreamRecord, 'stream' | 'kind' | 'schema' | 'blocks'> & {
  /** false: more blocks may come. */
  sealed?: boolean | undefined;
};
/** Gets one block of one stream. */
export type BlockSource = (stream: string, seq: number) => BlockRecord;

export interface CombinedInput {
  kind: StreamKind;
  schema: ColumnSchema[];
  /** How many blocks there are, as far as is known now. Throws PDL_STAGE_COLUMNS where streams are zipped that have not equally many. */
  readonly blocks: number;
  /** There will be no more. */
  readonly isWhole: boolean;
  /** One of them; its `seq` counts over the combination. Throws PDL_STAGE_COLUMNS. */
  block(index: number, source: BlockSource): BlockRecord;
}

/** Throws PDL_STAGE_COLUMNS. */
export function combine(how: 'zip' | 'concat', inputs: readonly InputStream[], stage: string): CombinedInput {
  const [first, ...others] = inputs;
  if (first === undefined) throw new PodlineError('PDL_STAGE_COLUMNS', `stage ${stage} has no input`, { place: stage });
  if (others.length === 0) {
    const { stream, kind, schema } = first;
    return combined(inputs, { kind, schema, blocks: () => first.blocks, block: (index, source) => source(stream, index) });
  }
  for (const other of others) {
    if (other.kind !== first.kind) {
      const hint = 'Combine streams of one kind, or read them in a `files` stage.';
      throw refusal(stage, `${first.stream} is a stream of ${first.kind}, ${other.stream} one of ${other.kind}`, hint);
    }
  }
  if (how === 'concat') return concat(inputs, first, stage);
  if (first.kind !== 'table') throw refusal(stage, `streams of ${first.kind} have no columns to zip`, 'Use `combine: concat`.');
  return zip(inputs, first, stage);
}

const isSealed = (input: InputStream): boolean => input.sealed !== false;

interface Combination {
  kind: StreamKind;
  schema: ColumnSchema[];
  blocks: () => number;
  block: CombinedInput['block'];
}

function combined(inputs: readonly InputStream[], { kind, schema, blocks, block }: Combination): CombinedInput {
  return {
    kind,
    schema,
    block,
    get blocks() {
      return blocks();
    },
    get isWhole() {
      return inputs.every(isSealed);
    },
  };
}

/** Throws where a stream that is whole has fewer blocks than another. */
function zippedBlocks(inputs: readonly InputStream[], stage: string): number {
  const blocks = inputs.map((input) => input.blocks);
  const most = Math.max(...blocks);
  const short = inputs.find((input) => isSealed(input) && input.blocks < most);
  if (short !== undefined) {
    const hint =
      'Streams that are zipped must come from the same blocks: filter before they part, or join in a stage of your own.';
    const [one, other] = inputs.filter((input) => input === short || input.blocks === most);
    throw refusal(stage, `${one?.stream} has ${one?.blocks} blocks, ${other?.stream} has ${other?.blocks}`, hint);
  }
  return Math.min(...blocks);
}

function zip(inputs: readonly InputStream[], first: InputStream, stage: string): CombinedInput {
  zippedBlocks(inputs, stage);
  const schema: ColumnSchema[] = [];
  const holder = new Map<string, string>();
  for (const input of inputs) {
    for (const column of input.schema) {
      const held = holder.get(column.name);
      if (held === undefined) {
        holder.set(column.name, input.stream);
        schema.push(column);
      } else if (schema.find((known) => known.name === column.name)?.type !== column.type) {
        throw conflict(stage, column.name, held, input.stream);
      }
    }
  }
  const block = (index: number, source: BlockSource): BlockRecord => {
    const columns = new Map<string, ColumnRef>();
    const { rows } = source(first.stream, index);
    for (const { stream } of inputs) {
      const other = source(stream, index);
      if (other.rows !== rows) {
        const hint = 'Streams that are zipped must keep the rows of what they both come from.';
        throw refusal(stage, `block ${index} has ${rows} rows in ${first.stream} and ${other.rows} in ${stream}`, hint);
      }
      for (const column of other.columns) {
        const known = columns.get(column.name);
        if (known === undefined) columns.set(column.name, column);
        else if (!isSameColumn(known, column))
          throw conflict(stage, column.name, holder.get(column.name) ?? first.stream, stream);
      }
    }
    return { seq: index, rows, columns: [...columns.values()] };
  };
  return combined(inputs, { kind: 'table', schema, blocks: () => zippedBlocks(inputs, stage), block });
}

function concat(inputs: readonly InputStream[], first: InputStream, stage: string): CombinedInput {
  const schema = first.schema.map((column) => ({ ...column }));
  const alike = 'Streams that are put one after another must have the same columns.';
  for (const other of inputs) {
    if (other.schema.length !== schema.length) {
      throw refusal(stage, `${first.stream} has the columns ${names(schema)}, ${other.stream} has ${names(other.schema)}`, alike);
    }
    for (const column of schema) {
      const same = other.schema.find((candidate) => candidate.name === column.name);
      if (same === undefined)
        throw refusal(stage, `${other.stream} has no column ${column.name}, which ${first.stream} has`, alike);
      if (same.type !== column.type) {
        throw refusal(
          stage,
          `column ${column.name} is ${column.type} in ${first.stream} and ${same.type} in ${other.stream}`,
          'Give it one type.',
        );
      }
      column.nullable ||= same.nullable;
    }
  }
  const block = (index: number, source: BlockSource): BlockRecord => {
    let seq = index;
    for (const { stream, blocks } of inputs) {
      if (seq < blocks) {
        const found = source(stream, seq);
        const columns = schema.flatMap(({ name }) => found.columns.find((column) => column.name === name) ?? []);
        return { ...found, seq: index, columns };
      }
      seq -= blocks;
    }
    throw new PodlineError('PDL_INTERNAL', `stage ${stage} asked for block ${index}, which its inputs do not have`);
  };
  const blocks = (): number => {
    let sum = 0;
    for (const input of inputs) {
      sum += input.blocks;
      if (!isSealed(input)) break;
    }
    return sum;
  };
  return combined(inputs, { kind: first.kind, schema, blocks, block });
}

const isSameBuffer = (a: BufferRef | undefined, b: BufferRef | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && a.segment === b.segment && a.offset === b.offset && a.length === b.length);

const isSameArray = (a: ArrayRef | undefined, b: ArrayRef | undefined): boolean =>
  isSameBuffer(a?.values, b?.values) && isSameBuffer(a?.validity, b?.validity) && isSameBuffer(a?.offsets, b?.offsets);

/** The same rows of the same bytes in the same place, not merely equal ones. */
export const isSameColumn = (a: ColumnRef, b: ColumnRef): boolean =>
  a.type === b.type &&
  isSameArray(a, b) &&
  isSameArray(a.items, b.items) &&
  isSameBuffer(a.dictionary?.values, b.dictionary?.values) &&
  isSameBuffer(a.dictionary?.offsets, b.dictionary?.offsets) &&
  isSameBuffer(a.selection?.indices, b.selection?.indices);

const names = (schema: readonly ColumnSchema[]): string => schema.map((column) => column.name).join(', ');

const refusal = (stage: string, message: string, hint: string): PodlineError =>
  new PodlineError('PDL_STAGE_COLUMNS', `the inputs of stage ${stage} do not go together: ${message}`, { place: stage, hint });

const conflict = (stage: string, column: string, one: string, other: string): PodlineError =>
  refusal(
    stage,
    `column ${column} is not the same in ${one} and ${other}`,
    'Rename it in one of them, or leave it out there with `keep`.',
  );
