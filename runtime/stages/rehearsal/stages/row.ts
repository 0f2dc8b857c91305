import { defineStage } from '../../define.js';

export default defineStage({
  input: { number: 'float64' },
  output: { twice: 'float64' },
  row(row, out) {
    out.twice = row.number * 2;
  },
});
