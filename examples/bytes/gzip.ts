import { gzipSync } from 'node:zlib';
import { defineStage } from 'podline';

export default defineStage({
  parameters: { level: 'number' },
  // Called for several blocks at once, on threads; what it returns is put together in the order of the blocks.
  bytes: (chunk, ctx) => gzipSync(chunk, { level: ctx.parameters.level }),
});
