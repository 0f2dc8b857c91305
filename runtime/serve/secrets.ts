/** The secrets that what is sent out is signed with. */
import { readFile } from 'node:fs/promises';
import { secretCharsMin } from '../access/signature.js';
import { PodlineError } from '../contracts/errors.js';

/** A secret a line, the newest first. Throws PDL_CONFIG_INVALID. */
export async function readSecrets(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch((thrown: unknown) => {
    throw new PodlineError('PDL_CONFIG_INVALID', `the secrets of webhooks ${file} cannot be read`, {
      place: file,
      cause: thrown,
    });
  });
  const secrets = text.split('\n').flatMap((line) => (line.trim() === '' ? [] : [line.trim()]));
  if (secrets.length > 0 && secrets.every((secret) => secret.length >= secretCharsMin)) return secrets;
  throw new PodlineError(
    'PDL_CONFIG_INVALID',
    `${file} has no secret, or one of less than ${String(secretCharsMin)} characters`,
    { place: file, hint: 'Write a random secret a line; `openssl rand -base64 32` makes one.' },
  );
}
