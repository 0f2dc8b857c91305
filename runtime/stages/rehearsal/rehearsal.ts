/**
 * The first runs of a process, before there is a shard: a slot that is loaded and run like any other, on a scratch, shards and a stage of
 * its own. What a run goes through for the first time V8 has still to compile, which takes longer than the rest of a hand-over; and a
 * slot whose container was swapped is always a new process (ADR 27).
 *
 * Invariants
 *  1. Nothing of the pipeline is called, read or written: what a stage's own code does may not be there to be taken back.
 *  2. Nothing is left behind, unless the process is ended in the middle.
 */
import { PodlineError } from '../../contracts/errors.js';
import type { ResolvedStage } from '../../contracts/manifest.js';
import { shimFrameBytesMax } from '../../contracts/shim-frames.js';
import type { AgentToShim, RunRequest, ShimToAgent } from '../../contracts/shim-protocol.js';
import { encodeFrame, FrameDecoder } from '../../platform/frames.js';
import { silentLogger } from '../../platform/logger.js';
import { openScratch } from '../../scratch/scratch.js';
import type { HostSetup, StageHost } from '../host.js';
import { Slot } from '../slot.js';
import { epoch, input, lineageOf, makeShards, name, onScratchLike, shards, stageOfForm, type RehearsedForm } from './shards.js';

export interface Rehearsal {
  form: RehearsedForm;
  /** Of the host that is to be warm. */
  setup: HostSetup;
  /** A folder for this rehearsal alone; made, and removed. */
  dir: string;
}

type HostOf = (setup: HostSetup) => Promise<StageHost>;

/**
 * Runs a stage of that form. Some 25 ms, no step longer than some 5; ends between two of them where `signal` aborts. Returns how many
 * runs there were. Throws what the file system throws, and PDL_INTERNAL where a run did not end as it should.
 */
export async function rehearse({ form, setup, dir }: Rehearsal, hostOf: HostOf, signal: AbortSignal): Promise<number> {
  const { module, defined, kind } = await stageOfForm(form);
  return onScratchLike(setup.scratch, dir, async (options) => {
    const scratch = await openScratch(options);
    try {
      await makeShards(scratch, kind, signal);
    } finally {
      await scratch.close();
    }
    const stage = { ...stageLike(setup.stage), module, declares: defined.declaration };
    const { slot, answerOf } = rehearsedSlot(setup.stagesDir, hostOf);
    try {
      const { dir, spillDir, sizeBytesMax, medium } = options;
      const welcome = { stage, kind, scratch: { dir, spillDir, sizeBytesMax, medium }, workers: setup.workers };
      expectThat(await answerOf({ type: 'welcome', ...welcome }), ({ type }) => type === 'ready');
      for (const [runs, shardId] of shards.entries()) {
        if (signal.aborted) return runs;
        const answer = await answerOf({ type: 'start', ...runOf(shardId) });
        expectThat(answer, (said) => said.type === 'ended' && said.outcome === 'committed');
      }
      return shards.length;
    } finally {
      await slot.close();
    }
  });
}

/** Of the rehearsal's own code, and in this thread as far as the stage itself would be. */
const stageLike = ({ workers, resources, ...stage }: ResolvedStage): ResolvedStage => ({
  ...stage,
  name,
  after: [input],
  combine: 'zip',
  executor: 'thread',
  workers: workers === 'auto' ? 'auto' : 1,
  resources: { ...resources, memory: undefined },
});

/** A slot, and how to ask it: both ways through the frames of the protocol, though there is no socket between. */
function rehearsedSlot(stagesDir: string, hostOf: HostOf): { slot: Slot; answerOf: (ask: AgentToShim) => Promise<ShimToAgent> } {
  let onAnswer: (answer: ShimToAgent) => void = () => undefined;
  const send = (...messages: ShimToAgent[]): void => {
    for (const message of messages) {
      encodeFrame(message, shimFrameBytesMax);
      if (message.type !== 'progress') onAnswer(message);
    }
  };
  const slot = new Slot({ slot: 0, step: name, stagesDir, hostOf, send, logger: silentLogger });
  const decoder = new FrameDecoder(shimFrameBytesMax);
  const answerOf = (ask: AgentToShim): Promise<ShimToAgent> =>
    new Promise((resolve) => {
      onAnswer = resolve;
      for (const heard of decoder.push(encodeFrame(ask, shimFrameBytesMax))) slot.take(heard as AgentToShim);
    });
  return { slot, answerOf };
}

const runOf = (shardId: string): RunRequest => ({
  runId: shardId,
  shardId,
  shardKey: name,
  epoch,
  attempt: 1,
  parameters: {},
  inputs: [input],
  lineage: lineageOf(name),
  consumed: 0,
});

function expectThat(answer: ShimToAgent, isExpected: (answer: ShimToAgent) => boolean): void {
  if (!isExpected(answer)) throw new PodlineError('PDL_INTERNAL', `a rehearsal was answered with ${JSON.stringify(answer)}`);
}
