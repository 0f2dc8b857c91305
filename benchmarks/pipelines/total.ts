import { column, defineStage } from 'podline';

export default defineStage({
  input: { price: 'float64', quantity: 'int32' },
  output: { total: 'float64' },
  block(batch) {
    const price = batch.columns.price.values;
    const quantity = batch.columns.quantity.values;
    const total = column.float64(batch.rows);
    for (let row = 0; row < batch.rows; row++) total.values[row] = (price[row] ?? 0) * (quantity[row] ?? 0);
    return { columns: { total } };
  },
});
