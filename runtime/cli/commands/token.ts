/** `podline token`: a new token on stdout, its entry for a token file on stderr. The token is shown once, and kept nowhere. */
import { randomBytes } from 'node:crypto';
import { hashOfToken } from '../../access/tokens.js';
import type { Scope } from '../../contracts/access.js';
import { exitCodes, type RunIo } from '../io.js';

export interface TokenOptions {
  name: string;
  scope: Scope[];
  pipeline: string[];
}

export function token({ name, scope, pipeline }: TokenOptions, io: RunIo): number {
  const made = `pdl_${randomBytes(32).toString('base64url')}`;
  io.out.write(`${made}\n`);
  const list = (words: readonly string[]): string => `[${words.map((word) => JSON.stringify(word)).join(', ')}]`;
  io.err.write(
    [
      '# for the list `tokens:` of the file that auth.tokens names',
      `- name: ${JSON.stringify(name)}`,
      `  sha256: ${hashOfToken(made)}`,
      `  scopes: ${list(scope)}`,
      `  pipelines: ${list(pipeline)}`,
      '',
    ].join('\n'),
  );
  return exitCodes.done;
}
