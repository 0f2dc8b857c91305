import { column, defineStage } from 'podline';

const dayMs = 86_400_000;
const hourMs = 3_600_000;
/** Day 0 of the epoch, 1 January 1970, was a Thursday; Monday is 0. */
const weekdayOfEpoch = 3;

export default defineStage({
  input: { date: 'timestamp[ms]', delay: 'int16' },
  output: { month: 'uint8', weekday: 'uint8', hour: 'uint8', late: 'uint8' },
  parameters: { lateAfterMinutes: 'number' },
  block(batch, ctx) {
    const times = batch.columns.date.toMs();
    const delays = batch.columns.delay.values;
    const lateAfter = ctx.parameters.lateAfterMinutes;
    const month = column.uint8(batch.rows);
    const weekday = column.uint8(batch.rows);
    const hour = column.uint8(batch.rows);
    const late = column.uint8(batch.rows);

    // Flights come ordered by time: the month is worked out once a day, not once a flight.
    let day = Number.NaN;
    let monthOfDay = 0;
    for (let row = 0; row < batch.rows; row++) {
      const time = times[row] ?? 0;
      const thisDay = Math.floor(time / dayMs);
      if (thisDay !== day) {
        day = thisDay;
        monthOfDay = new Date(time).getUTCMonth() + 1;
      }
      month.values[row] = monthOfDay;
      weekday.values[row] = (thisDay + weekdayOfEpoch) % 7;
      hour.values[row] = Math.floor((time - thisDay * dayMs) / hourMs);
      late.values[row] = (delays[row] ?? 0) > lateAfter ? 1 : 0;
    }
    return { columns: { month, weekday, hour, late } };
  },
});
