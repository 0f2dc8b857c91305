/**
 * What stages declare, read from their bundles in a process of its own.
 *
 * Invariants
 *  1. The process is gone when `readDeclarations` returns or throws.
 *  2. A module that hangs, exits or crashes is named; it takes nothing else down.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { PodlineError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import type { StageDeclaration } from '../contracts/manifest.js';
import { entryPath } from '../platform/entries.js';
import type { DeclarationRead } from './declaration-reader.js';

/** An import that takes longer does not come to an end. */
const importTimeoutMs = 30_000;

/** Declarations by absolute path of the bundle. Throws PDL_STAGE_LOAD naming the source file that `nameOf` gives. */
export async function readDeclarations(
  modules: readonly string[],
  nameOf: (module: string) => string,
): Promise<Map<string, StageDeclaration>> {
  const declarations = new Map<string, StageDeclaration>();
  if (modules.length === 0) return declarations;
  const child = fork(entryPath('runtime/config/declaration-reader'), {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    execArgv: ['--enable-source-maps'],
  });
  const exited = once(child, 'exit');
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk.toString()).slice(-limits.logTailBytes);
  });
  try {
    for (const module of modules) {
      const answer = await ask(child, module);
      if (answer === 'silent') {
        throw loadError(
          nameOf(module),
          `its import did not end within ${importTimeoutMs / 1000} s`,
          'Do not start work, or wait, at the top level of the module.',
          stderr,
        );
      }
      if (answer === 'gone')
        throw loadError(
          nameOf(module),
          'its import ended the process',
          'Do not call process.exit at the top level of the module.',
          stderr,
        );
      if ('error' in answer) throw loadError(nameOf(module), answer.error.message, answer.error.hint, stderr);
      declarations.set(module, answer.declaration);
    }
    return declarations;
  } finally {
    child.kill('SIGKILL');
    await exited;
  }
}

function ask(child: ChildProcess, module: string): Promise<DeclarationRead | 'gone' | 'silent'> {
  return new Promise((settle) => {
    const end = (answer: DeclarationRead | 'gone' | 'silent'): void => {
      clearTimeout(timer);
      child.off('message', onMessage).off('exit', onExit);
      settle(answer);
    };
    const onMessage = (message: unknown): void => end(message as DeclarationRead);
    const onExit = (): void => end('gone');
    const timer = setTimeout(end, importTimeoutMs, 'silent');
    child.on('message', onMessage).on('exit', onExit);
    if (child.exitCode !== null || !child.connected) end('gone');
    else child.send({ module });
  });
}

const loadError = (file: string, why: string, hint: string, stderr: string): PodlineError =>
  new PodlineError('PDL_STAGE_LOAD', `${file} cannot be used as a stage: ${why}`, {
    place: file,
    hint,
    ...(stderr === '' ? {} : { logTail: stderr }),
  });
