import { column, defineStage } from 'podline';

export default defineStage({
  input: { airports: { type: 'int32', nullable: true } },
  output: { rank: 'int32' },
  block(batch) {
    const { airports } = batch.columns;
    const order = Array.from({ length: batch.rows }, (_, row) => row).sort(
      (a, b) => (airports.at(b) ?? 0) - (airports.at(a) ?? 0) || a - b,
    );
    const rank = column.int32(batch.rows);
    order.forEach((row, place) => {
      rank.values[row] = place + 1;
    });
    return { columns: { rank } };
  },
});
