import { column, defineStage } from 'podline';

/** Adds one more. */
export default defineStage({
  input: { a: 'float64', sum: 'float64' },
  output: { difference: 'float64' },
  block(batch) {
    const a = batch.columns.a.values;
    const sum = batch.columns.sum.values;
    const difference = column.float64(batch.rows);
    for (let row = 0; row < batch.rows; row++) difference.values[row] = (a[row] ?? 0) - (sum[row] ?? 0);
    return { columns: { difference } };
  },
});
