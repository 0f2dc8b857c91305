import { defineStage } from 'podline';

export default defineStage({
  input: { paid: 'bool' },
  block(batch) {
    const { bits } = batch.columns.paid;
    const mask = new Uint8Array(batch.rows);
    for (let row = 0; row < batch.rows; row++) mask[row] = ((bits[row >> 3] ?? 0) >> (row & 7)) & 1;
    return { select: mask };
  },
});
