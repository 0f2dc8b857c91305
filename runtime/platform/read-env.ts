/** Environment variables that must be there, read once at start; what is missing is named. */
import { readFile } from 'node:fs/promises';
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

/** The bearer token, from PODLINE_TOKEN or the file that PODLINE_TOKEN_FILE names. */
export async function readToken(): Promise<string> {
  const file = process.env[env.tokenFile];
  if (file !== undefined) return (await readFile(file, 'utf8')).trim();
  return readEnv(env.token);
}
