/** What a rehearsal works on: small shards of its own making, in a scratch of their own. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Lineage, StreamKind } from '../../contracts/block.js';
import type { StageDeclaration } from '../../contracts/manifest.js';
import { entryPath } from '../../platform/entries.js';
import type { Scratch, ScratchOptions } from '../../scratch/types.js';
import type { DefinedStage } from '../define.js';
import { loadStage } from '../load.js';
import { kindOf } from '../schema.js';

/** Forms whose blocks are worked on one by one. */
export type RehearsedForm = Exclude<StageDeclaration['form'], 'files'>;

/** The first run compiles, the second nearly does not, the third is as fast as any until the code gets hot, hundreds of runs later. */
export const shards = ['rehearsal-1', 'rehearsal-2', 'rehearsal-3'];
/** The first block of a run is committed by itself, the others together. */
export const blocks = 4;
const rows = 64;
/** Far more than it takes. */
const sizeBytesMax = 64 * 1024 * 1024;
/** Of the stage, and of the stream that it makes. */
export const name = 'rehearsal';
export const input = 'input';
export const epoch = 1;
export const lineageOf = (stage: string): Lineage => ({
  digest: '0'.repeat(64),
  stage,
  version: '',
  parameters: '',
  inputs: {},
});

export interface RehearsedStage {
  module: string;
  defined: DefinedStage;
  kind: StreamKind;
}

/** The stage of that form that is rehearsed. */
export async function stageOfForm(form: RehearsedForm): Promise<RehearsedStage> {
  const module = entryPath(`runtime/stages/rehearsal/stages/${form}`);
  return { module, defined: await loadStage({ name, module }, ''), kind: kindOf(form) === 'bytes' ? 'bytes' : 'table' };
}

/** With a scratch in `dir` that is like another; nothing is left of it. */
export async function onScratchLike<T>(
  like: ScratchOptions,
  dir: string,
  use: (options: ScratchOptions) => Promise<T>,
): Promise<T> {
  const options: ScratchOptions = {
    ...like,
    dir: join(dir, 'scratch'),
    spillDir: join(dir, 'spill'),
    sizeBytesMax,
    role: 'owner',
  };
  try {
    return await use(options);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Loads the shards, as far as `signal` lets it. */
export async function makeShards(scratch: Scratch, kind: StreamKind, signal: AbortSignal): Promise<void> {
  for (const shardId of shards) {
    if (signal.aborted) return;
    await scratch.putShard({ shardId, epoch, revision: 1 });
    const run = { runId: 'load', epoch };
    await scratch.beginRun(shardId, input, run);
    const schema = kind === 'bytes' ? [] : [{ name: 'number', type: 'float64' as const, nullable: false }];
    const writer = await scratch.openWriter({ shardId, stream: input, kind, schema, lineage: lineageOf(input), run });
    for (let block = 0; block < blocks; block++) {
      const values = new Float64Array(rows).fill(block);
      if (kind === 'bytes') await writer.appendBytes(new Uint8Array(values.buffer));
      else await writer.appendTable(rows, [{ name: 'number', data: { type: 'float64', rows, nullCount: 0, values } }]);
    }
    await writer.seal();
    await writer.close();
    await scratch.beginRun(shardId, name, { runId: shardId, epoch });
  }
}
