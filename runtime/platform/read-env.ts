/** Environment variables that must be there, read once at start; what is missing is named. */
import { readFileSync } from 'node:fs';
import { env } from '../contracts/env.js';
import { PodlineError } from '../contracts/errors.js';

export function readEnv(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '') {
    throw new PodlineError('PDL_USAGE', `the environment variable ${name} is not set`, {
      hint: 'The driver that starts this process sets it.',
    });
  }
  return value;
}

export function readEnvNumber(name: string): number {
  const value = Number(readEnv(name));
  if (!Number.isInteger(value) || value < 0)
    throw new PodlineError('PDL_USAGE', `the environment variable ${name} is ${readEnv(name)}, not a whole number`);
  return value;
}

/** The bearer token, from PODLINE_TOKEN, or from the file that PODLINE_TOKEN_FILE names: there it may be renewed. */
export function tokenFromEnv(): string | (() => string) {
  const file = process.env[env.tokenFile];
  return file === undefined ? readEnv(env.token) : renewedToken(file, () => performance.now());
}

const tokenReadEveryMs = 30_000;
/** Before its end: clocks differ, and the next one may have to be asked about first. */
const tokenSpareMs = 300_000;

/**
 * What a file holds that somebody renews, as a kubelet does with the token of an account. One that is gone is as it was.
 *
 * A token that says how long it lasts is used for as long as that: whoever knows it need not ask about another one, and could not while
 * the API server is away.
 */
export function renewedToken(file: string, nowMs: () => number, wallMs: () => number = Date.now): () => string {
  const read = (): string => readFileSync(file, 'utf8').trim();
  let token = read();
  let readMs = nowMs();
  return () => {
    if (nowMs() - readMs < tokenReadEveryMs || wallMs() < endOf(token) - tokenSpareMs) return token;
    readMs = nowMs();
    try {
      token = read();
    } catch {
      // The kubelet puts another one there; until then the one before is as good as it was.
    }
    return token;
  };
}

/** Ms since 1970, as a JSON web token says of itself; long ago for one that does not. */
function endOf(token: string): number {
  try {
    const { exp } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { exp?: unknown };
    return typeof exp === 'number' ? exp * 1_000 : -Infinity;
  } catch {
    return -Infinity;
  }
}
