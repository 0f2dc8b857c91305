/** Whose tokens a coordinator takes, from its configuration: a file of them, its lines', its operator's, the cluster's. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LineTokens, lineSecretBytesMin } from '../access/line-tokens.js';
import { TokenGate, anyGate, operatorGate } from '../access/tokens.js';
import { openTokenReview } from '../cluster/token-review.js';
import { readTokenFile } from '../config/server-config.js';
import type { Gate } from '../contracts/access.js';
import { PodlineError } from '../contracts/errors.js';
import type { ServerConfig } from '../contracts/server-config.js';
import { writeFileAtomically } from '../platform/files.js';
import type { Logger } from '../platform/logger.js';
import { watchFiles } from '../platform/watch-files.js';

export interface Gates {
  gate: Gate;
  lineTokens: LineTokens;
  /** May do everything, as may whoever owns the work directory. New with each start. */
  operatorToken: string;
  close(): void;
}

/** Secrets are looked at this often: what a kubelet takes a minute to bring need not be seen sooner. */
export const lookEveryMs = 1_000;
const lineSecretFile = 'line-secret';

/** `lineGate`: of the cluster's lines. Throws PDL_CONFIG_INVALID. */
export async function openGates({ auth, workDir }: ServerConfig, lineGate: Gate | undefined, logger: Logger): Promise<Gates> {
  const operatorToken = randomBytes(24).toString('base64url');
  const lineTokens = new LineTokens(await lineSecret(auth.lineSecret, workDir));
  const gates: Gate[] = [lineTokens, ...(lineGate === undefined ? [] : [lineGate]), operatorGate(operatorToken)];
  const closers: (() => void)[] = [];
  if (auth.tokens !== undefined) {
    const { tokens: file } = auth;
    const tokens = new TokenGate(await readTokenFile(file), Date.now);
    gates.push(tokens);
    const watch = watchFiles(
      [file],
      () => {
        readTokenFile(file).then(
          (entries) => {
            tokens.replace(entries);
            logger.info({ file, tokens: entries.length }, 'the token file was read again');
          },
          (thrown: unknown) => {
            logger.error(
              { file, err: PodlineError.from(thrown).message },
              'the token file has changed and cannot be read: the tokens before are still taken',
            );
          },
        );
      },
      lookEveryMs,
    );
    closers.push(() => {
      watch.close();
    });
  }
  if (auth.kubernetes !== undefined) gates.push(openTokenReview({ ...auth.kubernetes, logger }));
  return {
    gate: anyGate(gates),
    lineTokens,
    operatorToken,
    close: () => {
      for (const close of closers.splice(0)) close();
    },
  };
}

/** Kept over restarts: lines go on with their tokens. */
async function lineSecret(file: string | undefined, workDir: string): Promise<Buffer> {
  const path = file ?? join(workDir, lineSecretFile);
  const found = await readFile(path).catch((thrown: unknown) => {
    const { code, message } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT' && file === undefined) return undefined;
    throw new PodlineError('PDL_CONFIG_INVALID', `the secret of lines ${path} cannot be read: ${message}`, {
      place: path,
      cause: thrown,
    });
  });
  if (found === undefined) {
    const made = randomBytes(lineSecretBytesMin);
    await writeFileAtomically(path, made, 0o600);
    return made;
  }
  if (found.length < lineSecretBytesMin)
    throw new PodlineError('PDL_CONFIG_INVALID', `the secret of lines ${path} has ${String(found.length)} bytes`, {
      place: path,
      hint: `Give it at least ${String(lineSecretBytesMin)}.`,
    });
  return found;
}
