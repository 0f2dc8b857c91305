/** Stands for the shim where only the driver is tested: writes down each of its starts in the scratch, then parks. */
import { appendFileSync } from 'node:fs';

const { PODLINE_SCRATCH_DIR: scratch, PODLINE_SLOT: slot, PODLINE_STAGE: stage, PODLINE_STEP: step } = process.env;
appendFileSync(`${scratch}/starts.ndjson`, `${JSON.stringify({ slot: Number(slot), stage, step, atMs: Date.now() })}\n`);
if (stage === 'crash') process.exit(7);
process.on('SIGTERM', () => process.exit(0));
setInterval(() => undefined, 60_000);
