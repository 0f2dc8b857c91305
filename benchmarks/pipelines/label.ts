import { column, defineStage } from 'podline';

/** One label for each pair of country and band; the same list for blocks with the same dictionaries, which is then stored once. */
const known = new Map<string, readonly string[]>();

function labelsOf(countries: readonly string[], bands: readonly string[]): readonly string[] {
  const key = JSON.stringify([countries, bands]);
  let labels = known.get(key);
  if (labels === undefined) {
    labels = countries.flatMap((country) => bands.map((band) => `${country}-${band}`));
    // Dictionaries of a shard grow a few times; of many shards they must not add up.
    if (known.size >= 100) known.clear();
    known.set(key, labels);
  }
  return labels;
}

export default defineStage({
  input: { country: 'dictionary', band: 'dictionary' },
  output: { label: 'dictionary' },
  block(batch) {
    const { country, band } = batch.columns;
    const bands = band.dictionary.length;
    const codes = new Int32Array(batch.rows);
    for (let row = 0; row < batch.rows; row++) codes[row] = (country.codes[row] ?? 0) * bands + (band.codes[row] ?? 0);
    return { columns: { label: column.dictionary.of(codes, labelsOf(country.dictionary, band.dictionary)) } };
  },
});
