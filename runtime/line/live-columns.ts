/**
 * Which columns of a shard's streams something to come still reads, and which may therefore be given back.
 *
 * What a stage that is done refers to is read from its blocks, exactly. What a stage that is not done will read, and hand on to those
 * behind it, is read from its declaration: the columns of `input`, and those that it keeps or renames and that somebody behind it
 * needs. A stage that declares no `input`, a command, and whoever reads a result need everything.
 *
 * Invariants
 *  1. A column that is given back is referred to by no column that is needed, in whatever stream and under whatever name.
 *  2. Only columns of sealed streams are given back, each where it was written. So a stream that nothing reads as it is any more stays
 *     on the books while something alive lies in it: what of it dies later can then still go.
 */
import type { BlockRecord, BufferRef, ColumnRef } from '../contracts/block.js';
import type { ResolvedStage, StageDeclaration } from '../contracts/manifest.js';

export type ReadingStage = Pick<ResolvedStage, 'name' | 'after'> & { declares?: StageDeclaration | undefined };

/** Columns of a stream: all but some, or some. */
export interface ColumnNeed {
  all: boolean;
  /** `all`: those that are not needed; else those that are. */
  names: ReadonlySet<string>;
}
const nothing: ColumnNeed = { all: false, names: new Set() };
const everything: ColumnNeed = { all: true, names: new Set() };

export const needs = (need: ColumnNeed | undefined, column: string): boolean =>
  need !== undefined && need.all !== need.names.has(column);

function either(a: ColumnNeed, b: ColumnNeed): ColumnNeed {
  if (a.all && b.all) return { all: true, names: new Set([...a.names].filter((name) => b.names.has(name))) };
  if (!a.all && !b.all) return { all: false, names: new Set([...a.names, ...b.names]) };
  const [most, some] = a.all ? [a, b] : [b, a];
  return { all: true, names: new Set([...most.names].filter((name) => !some.names.has(name))) };
}

/**
 * What is needed of each stream by the stages that are not done and by whoever reads the results; no entry: nothing.
 * @param order the stages, inputs before their readers.
 */
export function neededColumns(
  order: readonly ReadingStage[],
  results: Iterable<string>,
  isDone: (stage: string) => boolean,
): Map<string, ColumnNeed> {
  const needed = new Map<string, ColumnNeed>();
  for (const stream of results) needed.set(stream, everything);
  for (const stage of order.toReversed()) {
    if (isDone(stage.name)) continue;
    const need = needOfInput(stage, needed.get(stage.name) ?? nothing);
    for (const stream of stage.after) needed.set(stream, either(needed.get(stream) ?? nothing, need));
  }
  return needed;
}

/** What a stage needs of its input when so much of its output is needed. Of several inputs each may be the one that has it. */
function needOfInput({ declares }: ReadingStage, output: ColumnNeed): ColumnNeed {
  if (declares?.input === undefined || declares.form === 'files' || declares.form === 'bytes') return everything;
  return either({ all: false, names: new Set(Object.keys(declares.input)) }, passedOn(declares, output));
}

function passedOn({ keep, rename = {}, output = {} }: StageDeclaration, need: ColumnNeed): ColumnNeed {
  if (keep === 'none') return nothing;
  const isOwn = (name: string): boolean => Object.hasOwn(output, name);
  const from = (name: string): string => rename[name] ?? name;
  const names = Array.isArray(keep) ? keep.filter((name) => needs(need, name)) : need.all ? undefined : [...need.names];
  if (names !== undefined) return { all: false, names: new Set(names.filter((name) => !isOwn(name)).map(from)) };
  // Everything is kept, and everything needed but `need.names`.
  const moved = new Set(Object.values(rename));
  const replaced = [...Object.keys(output), ...need.names].filter((name) => !moved.has(name));
  return { all: true, names: new Set(replaced) };
}

/** A stream as it lies in the scratch. */
export interface HeldColumns {
  stream: string;
  sealed: boolean;
  /** Nothing reads it as it is any more: it goes when nothing alive refers to what it wrote. */
  released: boolean;
  columns: readonly string[];
  /** Those that were given back already. */
  freed: readonly string[];
  blocks: readonly BlockRecord[];
}

/** What may go: columns by the stream that wrote them, and then whole streams. */
export interface FreeingPlan {
  columns: Map<string, string[]>;
  streams: string[];
}

/** @param held the streams of a shard, all that are valid: what one that is missing here refers to is not seen. */
export function planFreeing(held: readonly HeldColumns[], needed: ReadonlyMap<string, ColumnNeed>): FreeingPlan {
  const { live, liveWriters, referredWriters } = references(held, needed);
  const plan: FreeingPlan = { columns: new Map(), streams: [] };
  for (const stream of held) {
    const goes = stream.released && !needed.has(stream.stream) && !liveWriters.has(stream.stream);
    if (goes) plan.streams.push(stream.stream);
    // Where nothing refers to it, it goes with its bytes. What refers to something of it holds all of it, unless that is freed.
    if (!stream.sealed || (goes && !referredWriters.has(stream.stream))) continue;
    const dead = deadColumns(stream, needed.get(stream.stream), live);
    if (dead.length > 0) plan.columns.set(stream.stream, dead);
  }
  return plan;
}

/** Columns that the stream wrote itself and that nothing needs, here or elsewhere. */
function deadColumns(
  { stream, columns, freed, blocks }: HeldColumns,
  need: ColumnNeed | undefined,
  live: ReadonlySet<string>,
): string[] {
  const dead = new Set(columns.filter((column) => !needs(need, column) && !freed.includes(column)));
  const own = new Set<string>();
  for (const block of dead.size === 0 ? [] : blocks) {
    for (const column of block.columns) {
      const buffer = bufferOf(column);
      if (!dead.has(column.name) || column.freed === true || buffer === undefined || writerOf(buffer) !== stream) continue;
      if (live.has(keyOf(buffer))) dead.delete(column.name);
      else own.add(column.name);
    }
  }
  return [...dead].filter((name) => own.has(name));
}

/** Buffers that are needed, under whatever name; who wrote them; and who wrote what other streams refer to, needed or not. */
function references(
  held: readonly HeldColumns[],
  needed: ReadonlyMap<string, ColumnNeed>,
): { live: Set<string>; liveWriters: Set<string>; referredWriters: Set<string> } {
  const live = new Set<string>();
  const liveWriters = new Set<string>();
  const referredWriters = new Set<string>();
  for (const { stream, blocks } of held) {
    const need = needed.get(stream);
    for (const block of blocks) {
      for (const column of block.columns) {
        const buffer = column.freed === true ? undefined : bufferOf(column);
        if (buffer === undefined) continue;
        const writer = writerOf(buffer);
        if (writer !== stream) referredWriters.add(writer);
        if (!needs(need, column.name)) continue;
        live.add(keyOf(buffer));
        liveWriters.add(writer);
      }
    }
  }
  return { live, liveWriters, referredWriters };
}

/** Columns of a stream of which some block has lost the data. */
export function freedColumns(blocks: Iterable<BlockRecord>): string[] {
  const freed = new Set<string>();
  for (const { columns } of blocks) for (const column of columns) if (column.freed === true) freed.add(column.name);
  return [...freed];
}

/** A buffer with bytes, by which a column is known wherever it is referred to; undefined where it has none. */
function bufferOf({ values, offsets, validity, items }: ColumnRef): BufferRef | undefined {
  for (const buffer of [values, offsets, validity, items?.values, items?.offsets, items?.validity])
    if (buffer !== undefined && buffer.length > 0) return buffer;
  return undefined;
}
const keyOf = ({ segment, offset }: BufferRef): string => `${segment}:${String(offset)}`;
/** The id of a segment begins with the stream that wrote it and a dot; names of streams have none. */
const writerOf = ({ segment }: BufferRef): string => segment.slice(0, segment.indexOf('.'));
