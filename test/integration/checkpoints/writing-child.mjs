/**
 * A line that is there to be killed: recovers its shard, goes on where the checkpoint ends, and writes one after every block.
 * Arguments: folder, epoch, blocks. Says `has N` once, `wrote N` after each checkpoint, and `done`.
 */
import { join } from 'node:path';
import { openCheckpoints } from '../../../dist/runtime/checkpoints/checkpoints.js';
import { recover } from '../../../dist/runtime/checkpoints/recovery.js';
import { silentLogger } from '../../../dist/runtime/platform/logger.js';
import { openScratch } from '../../../dist/runtime/scratch/scratch.js';

const [root, epochText, blocksText] = process.argv.slice(2);
const epoch = Number(epochText);
const blocks = Number(blocksText);
const shardId = 'shard-1';
const lineage = { digest: 'd', stage: 'out', version: 'v', parameters: 'p', inputs: {} };
const lineages = new Map([['out', lineage]]);
const stages = [{ name: 'out', after: [] }];
const rows = 20_000;

const scratch = await openScratch({
  dir: join(root, `scratch-${epochText}`),
  spillDir: join(root, 'spill'),
  sizeBytesMax: 2 ** 28,
  medium: 'memory',
  role: 'owner',
});
await scratch.putShard({ shardId, epoch, revision: 1 });
const checkpoints = openCheckpoints({ ssdDir: join(root, 'ssd'), logger: silentLogger, nowMs: () => performance.now() });
await recover({
  shardId,
  epoch,
  pipeline: 'p',
  stages,
  results: ['out'],
  lineages,
  scratch,
  checkpoints,
  logger: silentLogger,
  nowMs: () => performance.now(),
});
const has = scratch.progress(shardId, 'out')?.consumed ?? 0;
process.stdout.write(`has ${has}\n`);

const run = { runId: `run-${epochText}`, epoch };
await scratch.beginRun(shardId, 'out', run);
const schema = [{ name: 'n', type: 'float64', nullable: false }];
const writer = await scratch.openWriter({ shardId, stream: 'out', kind: 'table', schema, lineage, run });
for (let block = has; block < blocks; block += 1) {
  const values = Float64Array.from({ length: rows }, (_, row) => block * rows + row);
  await writer.appendTable(rows, [{ name: 'n', data: { type: 'float64', rows, nullCount: 0, values } }], { consumed: block + 1 });
  await checkpoints.write({
    place: 'ssd',
    shardId,
    pipeline: { name: 'p', revision: 1, stages },
    scratch,
    streams: ['out'],
    results: ['out'],
    lineages,
    epoch,
    retain: 2,
  });
  process.stdout.write(`wrote ${block + 1}\n`);
}
await writer.close();
await checkpoints.close();
await scratch.close();
process.stdout.write('done\n');
