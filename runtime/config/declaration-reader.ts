/**
 * Entry of a short-lived process: imports bundled stages and says what each declares. A stage's own code runs while it is
 * imported, so it is not let into the coordinator: it may hang, exit or crash.
 *
 * Messages in: `{ module }`, one after another. Messages out: `{ module, declaration }` or `{ module, error }`.
 */
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { PodlineError, type WireError } from '../contracts/errors.js';
import type { StageDeclaration } from '../contracts/manifest.js';

export type DeclarationRead = { module: string; declaration: StageDeclaration } | { module: string; error: WireError };

process.on('disconnect', () => process.exit(0));
process.on('message', ({ module }: { module: string }) => {
  void read(module).then((answer) => process.send?.(answer));
});

async function read(module: string): Promise<DeclarationRead> {
  try {
    const loaded = (await import(pathToFileURL(module).href)) as {
      default?: { podlineStage?: unknown; declaration?: StageDeclaration };
    };
    const stage = loaded.default;
    if (stage?.podlineStage !== 1 || stage.declaration === undefined) {
      throw new PodlineError(
        'PDL_STAGE_LOAD',
        stage === undefined ? 'it has no default export' : 'its default export is not made by defineStage',
      );
    }
    return { module, declaration: stage.declaration };
  } catch (error) {
    return { module, error: PodlineError.from(error, 'PDL_STAGE_LOAD').toWire() };
  }
}
