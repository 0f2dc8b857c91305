import { column, defineStage } from 'podline';
// Bundled into the stage, and so a part of its version: another table means another result.
import table from 'npm:vega-datasets/data/airports.csv';

interface Airport {
  state: string;
  latitude: number;
  longitude: number;
}

/** iata,name,city,state,country,latitude,longitude; quotes occur around names only. */
function readAirports(csv: string): Map<string, Airport> {
  const airports = new Map<string, Airport>();
  for (const line of csv.split('\n').slice(1)) {
    const fields = [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g)].map((match) => (match[1] ?? '').trim());
    const [iata, , , state, , latitude, longitude] = fields;
    if (iata === undefined || iata === '' || state === undefined) continue;
    airports.set(iata, { state, latitude: Number(latitude), longitude: Number(longitude) });
  }
  return airports;
}

const airports = readAirports(table);
const unknown: Airport = { state: '?', latitude: Number.NaN, longitude: Number.NaN };

export default defineStage({
  input: { origin: 'dictionary' },
  output: { state: 'dictionary', latitude: 'float32', longitude: 'float32' },
  block(batch) {
    const { origin } = batch.columns;
    // One look-up per airport of the block, not per flight.
    const known = origin.dictionary.map((iata) => airports.get(iata) ?? unknown);
    const states = [...new Set(known.map((airport) => airport.state))];
    const stateCodes = Int32Array.from(known, (airport) => states.indexOf(airport.state));
    const latitudes = Float32Array.from(known, (airport) => airport.latitude);
    const longitudes = Float32Array.from(known, (airport) => airport.longitude);

    const codes = new Int32Array(batch.rows);
    const latitude = column.float32(batch.rows);
    const longitude = column.float32(batch.rows);
    for (let row = 0; row < batch.rows; row++) {
      const code = origin.codes[row] ?? 0;
      codes[row] = stateCodes[code] ?? 0;
      latitude.values[row] = latitudes[code] ?? Number.NaN;
      longitude.values[row] = longitudes[code] ?? Number.NaN;
    }
    return { columns: { state: column.dictionary.of(codes, states), latitude, longitude } };
  },
});
