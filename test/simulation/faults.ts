/** How often a simulated line is broken, and how long what it does takes. */
import { errorCatalogue, type ErrorCode, type WireError } from '../../runtime/contracts/errors.js';

/** Chances, 0 to 1. */
export interface Faults {
  runFails: number;
  runFailsForGood: number;
  containerDies: number;
  runHangs: number;
  helloLost: number;
  swapFails: number;
  stageUnusable: number;
  endLost: number;
  deliveryFails: number;
  answerLost: number;
}
export const noFaults: Faults = {
  runFails: 0,
  runFailsForGood: 0,
  containerDies: 0,
  runHangs: 0,
  helloLost: 0,
  swapFails: 0,
  stageUnusable: 0,
  endLost: 0,
  deliveryFails: 0,
  answerLost: 0,
};

export interface Times {
  swapMs: [number, number];
  runMs: [number, number];
  loadMs: [number, number];
}

export const simulatedError = (code: ErrorCode, line: string): WireError => ({
  code,
  message: `${code} on ${line}`,
  hint: '',
  retry: errorCatalogue[code].retry,
});
