import { createHash } from 'node:crypto';
import { defineStage } from 'podline';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

export default defineStage({
  files(inputs, ctx) {
    const whole = createHash('sha256');
    const blocks = [...inputs.only().chunks()].map((chunk) => {
      whole.update(chunk);
      return { bytes: chunk.byteLength, sha256: sha256(chunk) };
    });
    // As `sha256sum` prints it, so that `sha256sum --check` reads it.
    return {
      SHA256SUMS: `${whole.digest('hex')}  ${ctx.shard.key}\n`,
      'blocks.json': `${JSON.stringify(blocks, undefined, 2)}\n`,
    };
  },
});
