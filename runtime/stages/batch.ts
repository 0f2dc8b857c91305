/**
 * A block as a stage sees it: columns are mapped when they are asked for.
 *
 * Invariant
 *  1. `isInput` knows every buffer that was given out: none of them may be transferred to another thread.
 */
import type { BlockRecord, ColumnRef } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { StageDeclaration } from '../contracts/manifest.js';
import type { ShardReader } from '../scratch/types.js';
import { columnOf, type AnyColumn } from './columns.js';
import type { Batch, ColumnsIn, ColumnSpecs } from './define.js';
import { checkNulls } from './schema.js';

/** Makes the batches of one run in one thread. */
export class BatchSource {
  readonly #inputs = new WeakSet<ArrayBufferLike>();

  constructor(
    readonly reader: ShardReader,
    private readonly stage: string,
    private readonly declaration: StageDeclaration,
  ) {}

  batch(block: BlockRecord): Batch {
    return new BlockBatch(block, (ref) => this.#map(ref, block));
  }

  noteInput(buffer: ArrayBufferLike): void {
    this.#inputs.add(buffer);
  }

  isInput(buffer: ArrayBufferLike): boolean {
    return this.#inputs.has(buffer);
  }

  #map(ref: ColumnRef, block: BlockRecord): AnyColumn {
    checkNulls(this.stage, this.declaration, ref, block.seq);
    const data = this.reader.column(ref, block.rows);
    const { values, validity, offsets, dictionary } = data;
    for (const view of [values, validity, offsets, dictionary?.values, dictionary?.offsets])
      if (view !== undefined) this.#inputs.add(view.buffer);
    return columnOf(data, ref);
  }
}

class BlockBatch implements Batch {
  readonly rows: number;
  readonly index: number;
  readonly columns: ColumnsIn<ColumnSpecs>;
  readonly #refs: Map<string, ColumnRef>;
  readonly #mapped = new Map<string, AnyColumn>();

  constructor(
    block: BlockRecord,
    private readonly map: (ref: ColumnRef) => AnyColumn,
  ) {
    this.rows = block.rows;
    this.index = block.seq;
    this.#refs = new Map(block.columns.map((ref) => [ref.name, ref]));
    const columns = {};
    for (const name of this.#refs.keys())
      Object.defineProperty(columns, name, { enumerable: true, get: () => this.column(name) });
    this.columns = columns;
  }

  get names(): readonly string[] {
    return [...this.#refs.keys()];
  }

  column(name: string): AnyColumn {
    let column = this.#mapped.get(name);
    if (column === undefined) {
      const ref = this.#refs.get(name);
      if (ref === undefined)
        throw new PodlineError(
          'PDL_STAGE_COLUMNS',
          `block ${this.index} has no column ${name}; it has ${this.names.join(', ') || 'none'}`,
        );
      column = this.map(ref);
      this.#mapped.set(name, column);
    }
    return column;
  }
}
