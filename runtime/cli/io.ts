/** What every command is given, and what it may answer: kept apart, so that `podline --help` loads nothing else. */

export interface RunIo {
  out: NodeJS.WriteStream;
  err: NodeJS.WriteStream;
  /** Aborted by Ctrl-C. */
  signal: AbortSignal;
}

export const exitCodes = { done: 0, someFailed: 1, usage: 2, interrupted: 130 } as const;
