/** Bounds of the HTTP server: what one caller, one connection and all of them together may take. Times in ms, sizes in bytes. */
import { limits } from '../contracts/limits.js';

export const defaultBounds = {
  /** Of a JSON body, and of one line of NDJSON. */
  requestBytesMax: limits.requestBytesMax,
  headerBytesMax: 16 * 1024,
  /** Objects and arrays within one another: JSON is cheap to nest and dear to walk. */
  nestingMax: 64,
  /** From the connection to the end of the head. */
  headersTimeoutMs: 10_000,
  /** From the head to the end of a JSON body. */
  bodyTimeoutMs: 30_000,
  /** A connection on which nothing has moved for so long is cut: half-open, or its reader does not read. Above any long poll. */
  silenceMs: 120_000,
  /** Above what clients keep a connection for, so that they close it and not the server in their face. */
  keepAliveMs: 65_000,
  connectionsMax: 4_096,
  /** NDJSON submissions under way; event streams are the coordinator's to bound. */
  submitStreamsMax: 64,
  /** Of one caller; lines are not counted, their calls are paced by leases. */
  ratePerSecond: 1_000,
  burstMs: 2_000,
  callersMax: 10_000,
  /** A quiet event stream says so this often: proxies keep it, and a token that was taken back ends it. */
  sseQuietMs: 15_000,
};
export type ServerBounds = { [name in keyof typeof defaultBounds]: number };

/** Whether there are more than `most` objects and arrays within one another; without recursion. */
export function nestsDeeperThan(value: unknown, most: number): boolean {
  let level = [value].filter(isContainer);
  for (let depth = 1; level.length > 0; depth += 1) {
    if (depth > most) return true;
    level = level.flatMap((container) => Object.values(container).filter(isContainer));
  }
  return false;
}

const isContainer = (value: unknown): value is object => typeof value === 'object' && value !== null;
