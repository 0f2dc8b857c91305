import { defineStage } from '../../define.js';

export default defineStage({
  input: { number: 'float64' },
  output: { sum: 'float64' },
  aggregate: {
    start: () => ({ sum: 0 }),
    add(state, batch) {
      for (const value of batch.columns.number.values) state.sum += value;
    },
    merge: (a, b) => ({ sum: a.sum + b.sum }),
    finish: (state) => ({ sum: Float64Array.of(state.sum) }),
  },
});
