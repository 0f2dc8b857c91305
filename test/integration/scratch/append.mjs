/**
 * A process that appends to one stream until it is killed or done: `node append.mjs '{"options":…, "request":…, "blocks":…, "rows":…}'`.
 * Block k holds the value k in all rows, and says in its progress that k + 1 blocks are consumed. Prints one line per committed block.
 */
import { openScratch } from '../../../dist/runtime/scratch/scratch.js';

const { options, request, blocks, rows } = JSON.parse(process.argv[2]);
const scratch = await openScratch(options);
const writer = await scratch.openWriter(request);
for (let block = writer.stream.blocks; block < blocks; block += 1) {
  const column = { type: 'int32', rows, nullCount: 0, values: new Int32Array(rows).fill(block) };
  await writer.appendTable(rows, [{ name: 'n', data: column }], { consumed: block + 1 });
  process.stdout.write(`${block}\n`);
}
await writer.seal();
await scratch.close();
