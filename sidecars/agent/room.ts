/**
 * Room in a scratch that is full: streams that nothing reads just now move to SSD; where that is not enough,
 * whoever asked is told to write on SSD itself. Slower, and the shard goes on.
 */
import { inputStream } from '../../runtime/contracts/block.js';
import { PodlineError } from '../../runtime/contracts/errors.js';
import { planSpill } from '../../runtime/line/memory.js';
import type { Agent } from './agent.js';

export async function makeRoom(agent: Agent, shardId: string, streamsInUse: readonly string[], bytes: number): Promise<'memory' | 'ssd' | 'none'> {
  const { scratch, logger } = agent.options;
  if (!agent.pipeline.spec.scratch.spill) return 'none';
  const { usedBytes, sizeBytesMax } = scratch.usage();
  const missing = usedBytes + bytes - sizeBytesMax;
  if (missing <= 0) return 'memory';
  const order = [inputStream, ...agent.pipeline.stages.map((stage) => stage.name)];
  const held = [...agent.residents.keys()].flatMap((resident) =>
    scratch.streams(resident).map((stream) => ({
      shardId: resident,
      stream: stream.stream,
      bytes: scratch
        .segments(resident)
        .filter((segment) => segment.stream === stream.stream && segment.medium === 'memory')
        .reduce((sum, segment) => sum + segment.committedBytes, 0),
      sealed: stream.sealed,
      inUse: resident === shardId && streamsInUse.includes(stream.stream),
      nextUse: order.indexOf(stream.stream),
    })),
  );
  let freed = 0;
  for (const choice of planSpill(held, missing)) {
    try {
      const moved = await scratch.spillStream(choice.shardId, choice.stream);
      freed += moved;
      agent.note('scratch.spilled', choice.shardId, { stream: choice.stream, bytes: moved });
    } catch (thrown) {
      logger.warn({ shardId: choice.shardId, stream: choice.stream, err: PodlineError.from(thrown).message }, 'could not spill a stream');
    }
    if (freed >= missing) return 'memory';
  }
  return 'ssd';
}
