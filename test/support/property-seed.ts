/** Property tests draw the same cases each time, so that a run that passed passes again; another PODLINE_SEED draws others. */
import fc from 'fast-check';

fc.configureGlobal({ seed: Number(process.env['PODLINE_SEED'] ?? 1) });
