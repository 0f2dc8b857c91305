import { column, defineStage } from 'podline';

/** Adds a column. */
export default defineStage({
  input: { a: 'float64', b: 'float64' },
  output: { sum: 'float64' },
  block(batch) {
    const a = batch.columns.a.values;
    const b = batch.columns.b.values;
    const sum = column.float64(batch.rows);
    for (let row = 0; row < batch.rows; row++) sum.values[row] = (a[row] ?? 0) + (b[row] ?? 0);
    return { columns: { sum } };
  },
});
