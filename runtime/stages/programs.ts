/**
 * Who runs the programs of command stages: this process (`local-programs.ts`), or the static shim of a slot, for the agent
 * (`remote-programs.ts`). To the host of the stage they are alike.
 */
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { PodlineError } from '../contracts/errors.js';

export interface ProgramOrder {
  runId: string;
  stage: string;
  command: readonly string[];
  cwd: string | undefined;
  /** Beside the environment of whoever starts it, without the names in `without`. */
  env: Record<string, string>;
  without: readonly string[];
  /** Folder of this run, on the file system of the scratch; the input is in it already. */
  folder: string;
  /** Whether stdin and stdout are the caller's; else stdin is empty and stdout goes where stderr goes. */
  isPiped: boolean;
  /** Its start is now: the input is laid out. */
  onStart: () => void;
}

export interface RunningProgram {
  /** Resolves when it exited with 0 and nothing of it is left. Throws PDL_STAGE_FAILED (another code, cannot be started) or PDL_STAGE_DIED (a signal). */
  readonly exited: Promise<void>;
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** At once, whatever it is doing. */
  kill(): void;
}

export interface Programs {
  /** Before the first program. */
  load(): void;
  /** When `signal` aborts: SIGTERM to its group, SIGKILL after `killAfterMs`. */
  start(order: ProgramOrder, signal: AbortSignal): RunningProgram;
  /** Idempotent. */
  close(): void;
}

/** How a program ended. */
export type ProgramEnd =
  { code: number } | { signal: NodeJS.Signals } | { unstartable: string; isMissing: boolean; cause?: unknown };

/** What a run says of the end of its program; undefined where that was as it should be. */
export function programFault(
  order: Pick<ProgramOrder, 'stage' | 'command' | 'cwd'>,
  end: ProgramEnd,
  logTail: string | undefined,
): PodlineError | undefined {
  const { stage, command, cwd } = order;
  const program = command[0] ?? '';
  if ('unstartable' in end) {
    const { unstartable, isMissing, cause } = end;
    const folder = cwd === undefined ? '' : `, and that the folder ${cwd} exists`;
    return new PodlineError(
      'PDL_STAGE_FAILED',
      `the command of stage ${stage} cannot be started: ${program}: ${isMissing ? 'not found' : unstartable}`,
      {
        place: stage,
        cause,
        hint: isMissing
          ? `Check that ${program} is installed where the stage runs and on the PATH${folder}.`
          : 'Check that the program may be executed.',
      },
    );
  }
  if ('signal' in end)
    return new PodlineError('PDL_STAGE_DIED', `the command of stage ${stage} (${program}) was ended by ${end.signal}`, {
      place: stage,
      logTail,
    });
  if (end.code === 0) return undefined;
  const words = `the command of stage ${stage} (${program}) ended with exit code ${String(end.code)}`;
  return new PodlineError('PDL_STAGE_FAILED', words, { place: stage, logTail });
}

/** The name of a signal by its number. */
export const signalName = (number: number): NodeJS.Signals =>
  (Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? 'SIGKILL') as NodeJS.Signals;
