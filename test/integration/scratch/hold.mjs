/**
 * A process that commits one block, writes a second, holds room for a third in the scratch, says so, and waits to be killed:
 * `node hold.mjs '{"options":…, "request":…, "bytes":…}'`.
 */
import { openScratch } from '../../../dist/runtime/scratch/scratch.js';

const { options, request, bytes } = JSON.parse(process.argv[2]);
const scratch = await openScratch(options);
const writer = await scratch.openWriter(request);
const part = scratch.openPart(request);
await writer.commitWritten([part.writeBytes(Buffer.from('committed'))]);
part.writeBytes(Buffer.alloc(bytes, 1));
const room = part.allocate(bytes);
room.fill(2);
process.stdout.write('holding\n');
setInterval(() => room.fill(3), 10);
