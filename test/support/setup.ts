/** Of every test file. */
import fc from 'fast-check';
import { afterEach } from 'vitest';
import { unfulfilled } from './until.js';

// Property tests draw the same cases each time, so that a run that passed passes again; another PODLINE_SEED draws others.
fc.configureGlobal({ seed: Number(process.env['PODLINE_SEED'] ?? 1) });

afterEach(({ task }) => {
  const waits = unfulfilled();
  if (task.result?.state === 'fail' && waits.length > 0)
    console.error(`${task.name}: ended while it waited for\n  ${waits.join('\n  ')}`);
});
