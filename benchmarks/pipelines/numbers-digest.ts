import { createHash } from 'node:crypto';
import { defineStage, type NumberColumn } from 'podline';

const names = ['id', 'a', 'b', 'c', 'd', 'e', 'f', 'x'];

/** The digest of each column. */
export default defineStage({
  files(inputs) {
    const hashes = names.map((name) => ({ name, hash: createHash('sha256') }));
    let rows = 0;
    for (const batch of inputs.only().batches()) {
      for (const { name, hash } of hashes) {
        const { values } = batch.column(name) as NumberColumn;
        hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      }
      rows += batch.rows;
    }
    return { 'digest.txt': hashes.map(({ name, hash }) => `${hash.digest('hex')}  ${name}  ${String(rows)}\n`).join('') };
  },
});
