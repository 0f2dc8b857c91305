/** The part of a rehearsal that a worker thread has: blocks from their records to their outcomes. What commits them is another thread's. */
import { openScratch } from '../../scratch/scratch.js';
import type { Scratch, ScratchOptions } from '../../scratch/types.js';
import { BlockWork } from '../block-work.js';
import { outputSchema } from '../schema.js';
import type { Outcome, RunPlan } from '../workers.js';
import {
  blocks,
  epoch,
  input,
  lineageOf,
  makeShards,
  name,
  onScratchLike,
  shards,
  stageOfForm,
  type RehearsedForm,
  type RehearsedStage,
} from './shards.js';

export interface ThreadRehearsal {
  form: RehearsedForm;
  /** Of the line; one like it is made. */
  scratch: ScratchOptions;
  /** A folder for this rehearsal alone; made, and removed. */
  dir: string;
}

/** `tell`: what is done with an outcome in the thread. Returns how many runs there were; otherwise as `rehearse` in `rehearsal.ts`. */
export async function rehearseBlocks(
  { form, scratch: like, dir }: ThreadRehearsal,
  tell: (outcome: Outcome) => void,
  signal: AbortSignal,
): Promise<number> {
  const stage = await stageOfForm(form);
  return onScratchLike(like, dir, async (options) => {
    const scratch = await openScratch(options);
    try {
      await makeShards(scratch, stage.kind, signal);
      for (const [runs, shardId] of shards.entries()) {
        if (signal.aborted) return runs;
        await runOne(scratch, stage, shardId, signal, tell);
      }
      return shards.length;
    } finally {
      await scratch.close();
    }
  });
}

async function runOne(
  scratch: Scratch,
  { defined, kind }: RehearsedStage,
  shardId: string,
  signal: AbortSignal,
  tell: (outcome: Outcome) => void,
): Promise<void> {
  const schema = outputSchema(name, defined.declaration, scratch.stream(shardId, input)?.schema ?? []);
  const run = { runId: shardId, epoch };
  const output = { shardId, stream: name, kind, schema, lineage: lineageOf(name), run };
  const asked = { runId: shardId, shardId, shardKey: name, parameters: {}, trace: undefined };
  const plan: RunPlan = { ...asked, inputs: [input], growing: undefined, lineage: lineageOf(name), combine: 'zip', output };
  const writer = await scratch.openWriter(output);
  const work = new BlockWork({
    stage: name,
    defined,
    scratch,
    plan,
    signal,
    voice: { log: () => undefined, note: () => undefined },
    room: () => Promise.resolve('none'),
    awaitOutput: () => undefined,
    onCall: () => undefined,
  });
  try {
    for (let block = 0; block < blocks; block++) tell(await work.do(block));
  } finally {
    work.close(undefined);
    await writer.close();
  }
}
