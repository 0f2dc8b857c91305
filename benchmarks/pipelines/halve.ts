import { column, defineStage } from 'podline';

/** x becomes x / 2 plus another column: the other columns stay where they are. */
export default defineStage({
  input: { a: 'float64', b: 'float64', c: 'float64', d: 'float64', e: 'float64', x: 'float64' },
  output: { x: 'float64' },
  parameters: { added: 'string' },
  block(batch, ctx) {
    const added = batch.columns[ctx.parameters.added as 'a'].values;
    const before = batch.columns.x.values;
    const x = column.float64(batch.rows);
    const after = x.values;
    for (let row = 0; row < batch.rows; row++) after[row] = (before[row] ?? 0) / 2 + (added[row] ?? 0);
    return { columns: { x } };
  },
});
