import { column, defineStage } from 'podline';

const months = 12;
const hours = 24;
const cells = months * hours;

/** Of one airport: a number for each month and hour, month by month. */
interface AirportSums {
  state: string;
  flights: Int32Array;
  late: Int32Array;
  delayMinutes: Int32Array;
  distanceMiles: Float64Array;
  worstDelayMinutes: Int16Array;
}

const emptySums = (state: string): AirportSums => ({
  state,
  flights: new Int32Array(cells),
  late: new Int32Array(cells),
  delayMinutes: new Int32Array(cells),
  distanceMiles: new Float64Array(cells),
  worstDelayMinutes: new Int16Array(cells).fill(-32768),
});

export default defineStage({
  input: {
    origin: 'dictionary',
    state: 'dictionary',
    month: 'uint8',
    hour: 'uint8',
    late: 'uint8',
    delay: 'int16',
    distance: 'int16',
  },
  output: {
    airport: 'utf8',
    state: 'utf8',
    month: 'uint8',
    hour: 'uint8',
    flights: 'int32',
    late: 'int32',
    delayMinutes: 'int32',
    meanDelayMinutes: 'float64',
    worstDelayMinutes: 'int16',
    distanceMiles: 'float64',
  },
  aggregate: {
    start: () => new Map<string, AirportSums>(),
    add(state, batch) {
      const { origin, state: homeState, month, hour, late, delay, distance } = batch.columns;
      const byCode: (AirportSums | undefined)[] = new Array<undefined>(origin.dictionary.length).fill(undefined);
      for (let row = 0; row < batch.rows; row++) {
        const code = origin.codes[row] ?? 0;
        let sums = byCode[code];
        if (sums === undefined) {
          const airport = origin.dictionary[code] ?? '';
          sums = state.get(airport) ?? emptySums(homeState.at(row));
          state.set(airport, sums);
          byCode[code] = sums;
        }
        const cell = ((month.values[row] ?? 1) - 1) * hours + (hour.values[row] ?? 0);
        const minutes = delay.values[row] ?? 0;
        sums.flights[cell] = (sums.flights[cell] ?? 0) + 1;
        sums.late[cell] = (sums.late[cell] ?? 0) + (late.values[row] ?? 0);
        sums.delayMinutes[cell] = (sums.delayMinutes[cell] ?? 0) + minutes;
        sums.distanceMiles[cell] = (sums.distanceMiles[cell] ?? 0) + (distance.values[row] ?? 0);
        if (minutes > (sums.worstDelayMinutes[cell] ?? 0)) sums.worstDelayMinutes[cell] = minutes;
      }
    },
    merge(before, more) {
      for (const [airport, sums] of more) {
        const into = before.get(airport);
        if (into === undefined) {
          before.set(airport, sums);
          continue;
        }
        for (let cell = 0; cell < cells; cell++) {
          into.flights[cell] = (into.flights[cell] ?? 0) + (sums.flights[cell] ?? 0);
          into.late[cell] = (into.late[cell] ?? 0) + (sums.late[cell] ?? 0);
          into.delayMinutes[cell] = (into.delayMinutes[cell] ?? 0) + (sums.delayMinutes[cell] ?? 0);
          into.distanceMiles[cell] = (into.distanceMiles[cell] ?? 0) + (sums.distanceMiles[cell] ?? 0);
          into.worstDelayMinutes[cell] = Math.max(into.worstDelayMinutes[cell] ?? 0, sums.worstDelayMinutes[cell] ?? 0);
        }
      }
      return before;
    },
    finish(state) {
      const airports = [...state].sort(([a], [b]) => (a < b ? -1 : 1));
      const filled = airports.flatMap(([airport, sums]) =>
        Array.from({ length: cells }, (_, cell) => ({ airport, sums, cell })).filter(({ cell }) => (sums.flights[cell] ?? 0) > 0),
      );
      const rows = filled.length;
      const out = {
        airport: column.utf8.from(filled.map((row) => row.airport)),
        state: column.utf8.from(filled.map((row) => row.sums.state)),
        month: column.uint8(rows),
        hour: column.uint8(rows),
        flights: column.int32(rows),
        late: column.int32(rows),
        delayMinutes: column.int32(rows),
        meanDelayMinutes: column.float64(rows),
        worstDelayMinutes: column.int16(rows),
        distanceMiles: column.float64(rows),
      };
      filled.forEach(({ sums, cell }, row) => {
        const flights = sums.flights[cell] ?? 0;
        out.month.values[row] = Math.floor(cell / hours) + 1;
        out.hour.values[row] = cell % hours;
        out.flights.values[row] = flights;
        out.late.values[row] = sums.late[cell] ?? 0;
        out.delayMinutes.values[row] = sums.delayMinutes[cell] ?? 0;
        out.meanDelayMinutes.values[row] = (sums.delayMinutes[cell] ?? 0) / flights;
        out.worstDelayMinutes.values[row] = sums.worstDelayMinutes[cell] ?? 0;
        out.distanceMiles.values[row] = sums.distanceMiles[cell] ?? 0;
      });
      return out;
    },
  },
});
