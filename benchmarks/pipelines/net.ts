import { column, defineStage } from 'podline';

export default defineStage({
  input: { total: 'float64', discount: 'float64' },
  output: { net: 'float64' },
  block(batch) {
    const total = batch.columns.total.values;
    const discount = batch.columns.discount.values;
    const net = column.float64(batch.rows);
    for (let row = 0; row < batch.rows; row++) net.values[row] = (total[row] ?? 0) - (total[row] ?? 0) * (discount[row] ?? 0);
    return { columns: { net } };
  },
});
