import { defineStage } from '../../define.js';

export default defineStage({
  input: { number: 'float64' },
  output: { twice: 'float64' },
  block: (batch) => ({ columns: { twice: batch.columns.number.values.map((value) => value * 2) } }),
});
