import { column, defineStage } from 'podline';

const bands = ['small', 'medium', 'large'];

export default defineStage({
  input: { net: 'float64' },
  output: { band: 'dictionary' },
  block(batch) {
    const net = batch.columns.net.values;
    const codes = new Int32Array(batch.rows);
    for (let row = 0; row < batch.rows; row++) {
      const value = net[row] ?? 0;
      codes[row] = value < 100 ? 0 : value < 1000 ? 1 : 2;
    }
    return { columns: { band: column.dictionary.of(codes, bands) } };
  },
});
