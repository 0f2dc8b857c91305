/**
 * Room in a scratch that is full: streams that nothing reads just now move to SSD; where that is not enough,
 * whoever asked is told to write on SSD itself. Slower, and the shard goes on.
 */
import { PodlineError } from '../../runtime/contracts/errors.js';
import { planSpill } from '../../runtime/line/memory.js';
import type { Agent } from './agent.js';

/** Where `bytes` more may be written. */
export async function makeRoom(agent: Agent, bytes: number): Promise<'memory' | 'ssd' | 'none'> {
  const { scratch, logger } = agent.options;
  if (!agent.pipeline.spec.scratch.spill) return 'none';
  const { usedBytes, sizeBytesMax } = scratch.usage();
  const missing = usedBytes + bytes - sizeBytesMax;
  if (missing <= 0) return 'memory';
  const held = [...agent.residents.keys()].flatMap((resident) => {
    const segments = scratch.segments(resident);
    return scratch
      .streams(resident)
      .filter((stream) => stream.sealed)
      .map((stream) => ({
        shardId: resident,
        stream: stream.stream,
        sealed: true,
        inUse: agent.nextReadOf(resident, stream.stream) === 0,
        nextUse: agent.nextReadOf(resident, stream.stream),
        bytes: segments
          .filter((segment) => segment.stream === stream.stream && segment.medium === 'memory')
          .reduce((sum, segment) => sum + segment.committedBytes, 0),
      }))
      .filter((stream) => stream.bytes > 0);
  });
  let freed = 0;
  for (const choice of planSpill(held, missing)) {
    try {
      const moved = await scratch.spillStream(choice.shardId, choice.stream);
      freed += moved;
      agent.note('scratch.spilled', choice.shardId, { stream: choice.stream, bytes: moved });
    } catch (thrown) {
      logger.warn(
        { shardId: choice.shardId, stream: choice.stream, err: PodlineError.from(thrown).message },
        'could not spill a stream',
      );
    }
    if (freed >= missing) return 'memory';
  }
  return 'ssd';
}
