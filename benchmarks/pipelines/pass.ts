import { defineStage } from 'podline';

/** Is given every block, and hands it on as it is: nothing is asked of the stage but that. */
export default defineStage({
  bytes: (chunk) => chunk,
});
