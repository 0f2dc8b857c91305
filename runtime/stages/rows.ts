/**
 * The row form: the stage's function is called for every row, with a view of the row and a place for its values.
 *
 * Invariant: `row` and `out` are the same objects for every row, so that nothing is built per row; whoever keeps one keeps nothing.
 */
import type { BlockRecord } from '../contracts/block.js';
import type { StageDeclaration } from '../contracts/manifest.js';
import type { Batch, BlockContext, StageFunctions } from './define.js';
import { keptColumns, pickedColumns, type TableOutput } from './output.js';
import { RowSinks } from './row-sinks.js';
import { RowView, type Cursor } from './row-view.js';

/** Rows of a stage in one thread; made once and kept as long as the stage is loaded. */
export class RowForm {
  readonly #cursor: Cursor = { row: 0, out: 0, set: 0 };
  readonly #sinks: RowSinks;
  #view: { of: string; view: RowView } | undefined;

  constructor(
    stage: string,
    private readonly declaration: StageDeclaration,
    private readonly call: NonNullable<StageFunctions['row']>,
  ) {
    this.#sinks = new RowSinks(stage, declaration.output ?? {}, this.#cursor);
  }

  run(block: BlockRecord, batch: Batch, ctx: BlockContext): TableOutput {
    const cursor = this.#cursor;
    const sinks = this.#sinks;
    const { call } = this;
    const view = this.#viewOf(block);
    view.fill(batch);
    sinks.begin(block.rows);
    const { row } = view;
    const { out } = sinks;
    const kept = new Uint32Array(block.rows);
    cursor.out = 0;
    cursor.set = 0;
    for (let i = 0; i < block.rows; i++) {
      cursor.row = i;
      if (call(row, out, ctx) === false) {
        sinks.forget();
        continue;
      }
      sinks.settle();
      kept[cursor.out++] = i;
    }
    const rows = cursor.out;
    const whole = rows === block.rows;
    const columns = whole
      ? keptColumns(this.declaration, block)
      : pickedColumns(this.declaration, block, batch, kept.subarray(0, rows));
    return { rows, columns: [...columns, ...sinks.finish(rows)] };
  }

  /** The declared columns, or all that the block has; another view only where those are others than before. */
  #viewOf(block: BlockRecord): RowView {
    const { input } = this.declaration;
    const columns =
      input === undefined
        ? block.columns.map(({ name, type }) => ({ name, type }))
        : Object.entries(input).map(([name, { type }]) => ({ name, type }));
    const of = input === undefined ? JSON.stringify(columns) : '';
    if (this.#view?.of !== of) this.#view = { of, view: new RowView(columns, this.#cursor) };
    return this.#view.view;
  }
}
