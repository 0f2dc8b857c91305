import { defineStage } from 'podline';

/** A day: a delay or an earliness beyond it is a slip of the pen. */
const delayMinutesMax = 24 * 60;

export default defineStage({
  input: {
    date: { type: 'timestamp[ms]', nullable: true },
    delay: { type: 'int16', nullable: true },
    distance: { type: 'int16', nullable: true },
    origin: { type: 'dictionary', nullable: true },
    destination: { type: 'dictionary', nullable: true },
  },
  block(batch, ctx) {
    const { date, delay, distance, origin, destination } = batch.columns;
    const mask = new Uint8Array(batch.rows);
    let kept = 0;
    for (let row = 0; row < batch.rows; row++) {
      if (date.isNull(row) || delay.isNull(row) || distance.isNull(row) || origin.isNull(row) || destination.isNull(row))
        continue;
      const minutes = delay.values[row] ?? 0;
      if (minutes > delayMinutesMax || minutes < -delayMinutesMax || (distance.values[row] ?? 0) <= 0) continue;
      mask[row] = 1;
      kept += 1;
    }
    if (kept < batch.rows) ctx.logger.debug('dropped rows', { block: batch.index, rows: batch.rows - kept });
    return { select: mask };
  },
});
