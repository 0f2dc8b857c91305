import { defineStage } from 'podline';

export default defineStage({
  parameters: { key: 'number' },
  bytes(chunk, ctx) {
    const { key } = ctx.parameters;
    const { length } = chunk;
    const made = ctx.allocate(length);
    for (let at = 0; at < length; at++) made[at] = (chunk[at] ?? 0) ^ key;
    return made;
  },
});
