/**
 * A block as a stage sees it: columns are mapped when they are asked for, and those that lie under a selection are gathered then, unless
 * the stage reads them in place (`selections: true`, and rows, whose view hides the difference).
 */
import type { BlockRecord, ColumnRef } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { StageDeclaration } from '../contracts/manifest.js';
import type { ColumnData, ShardReader } from '../scratch/types.js';
import { columnOf, type AnyColumn } from './columns.js';
import type { Batch, ColumnsIn, ColumnSpecs } from './define.js';
import { checkNulls } from './schema.js';

type How = 'gathered' | 'selected';

/** Makes the batches of one run in one thread. */
export class BatchSource {
  readonly #how: How;

  constructor(
    readonly reader: ShardReader,
    private readonly stage: string,
    private readonly declaration: StageDeclaration,
  ) {
    this.#how = declaration.selections === true || declaration.form === 'row' ? 'selected' : 'gathered';
  }

  batch(block: BlockRecord): BlockBatch {
    return new BlockBatch(block, this.stage, this.declaration, this.#how, (ref, how) => {
      const column = columnOf(this.reader.column(ref, block.rows, how), ref);
      checkNulls(this.stage, this.declaration, ref.name, column, block.seq);
      return column;
    });
  }
}

export class BlockBatch implements Batch {
  readonly rows: number;
  readonly index: number;
  readonly columns: ColumnsIn<ColumnSpecs>;
  readonly #refs: Map<string, ColumnRef>;
  readonly #mapped = new Map<string, AnyColumn>();

  constructor(
    block: BlockRecord,
    private readonly stage: string,
    private readonly declaration: StageDeclaration,
    private readonly how: How,
    private readonly map: (ref: ColumnRef, how: How) => AnyColumn,
  ) {
    this.rows = block.rows;
    this.index = block.seq;
    this.#refs = new Map(block.columns.map((ref) => [ref.name, ref]));
    const columns = {};
    for (const name of Object.keys(declaration.input ?? Object.fromEntries(this.#refs)))
      Object.defineProperty(columns, name, { enumerable: true, get: () => this.column(name) });
    this.columns = columns;
  }

  get names(): readonly string[] {
    return [...this.#refs.keys()];
  }

  column(name: string): AnyColumn {
    let column = this.#mapped.get(name);
    if (column === undefined) {
      column = this.map(this.#declared(name), this.how);
      this.#mapped.set(name, column);
    }
    return column;
  }

  /** Copies of the rows named of a column, without gathering the others first. */
  pick(name: string, rows: Uint32Array): ColumnData {
    return (this.#mapped.get(name) ?? this.map(this.#ref(name), 'selected')).pick(rows);
  }

  /** What a stage does not say that it reads may have been given back by now: it is refused always, not only then. */
  #declared(name: string): ColumnRef {
    const ref = this.#ref(name);
    const { input } = this.declaration;
    if (input === undefined || Object.hasOwn(input, name)) return ref;
    throw new PodlineError(
      'PDL_STAGE_COLUMNS',
      `stage ${this.stage} reads the column ${name}, and declares only ${Object.keys(input).join(', ') || 'none'}`,
      { place: `${this.stage}.${name}`, hint: 'Declare it under `input`; a stage without `input` may read all columns.' },
    );
  }

  #ref(name: string): ColumnRef {
    const ref = this.#refs.get(name);
    if (ref === undefined)
      throw new PodlineError(
        'PDL_STAGE_COLUMNS',
        `block ${this.index} has no column ${name}; it has ${this.names.join(', ') || 'none'}`,
      );
    return ref;
  }
}
