/** Secrets of connectors: read where they are used, kept nowhere, and never part of a message. */
import { readFile } from 'node:fs/promises';
import type { SecretRef } from '../contracts/connectors.js';
import { PodlineError } from '../contracts/errors.js';

/** Throws PDL_CONNECTOR_INVALID naming the file or variable. */
export async function readSecret(secret: SecretRef): Promise<string> {
  if ('env' in secret) {
    const value = process.env[secret.env];
    if (value === undefined || value === '')
      throw new PodlineError('PDL_CONNECTOR_INVALID', `the environment variable ${secret.env}, which holds a secret, is not set`);
    return value;
  }
  try {
    return (await readFile(secret.file, 'utf8')).replace(/\r?\n$/, '');
  } catch (thrown) {
    throw new PodlineError('PDL_CONNECTOR_INVALID', `the secret in ${secret.file} cannot be read`, { cause: thrown });
  }
}
