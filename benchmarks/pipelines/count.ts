import { defineStage } from 'podline';

/** How many rows there are: for pipelines of which only the load is of interest. */
export default defineStage({
  output: { rows: 'int32' },
  aggregate: {
    start: () => ({ rows: 0 }),
    add(state, batch) {
      state.rows += batch.rows;
    },
    merge: (a, b) => ({ rows: a.rows + b.rows }),
    finish: ({ rows }) => ({ rows: Int32Array.of(rows) }),
  },
});
