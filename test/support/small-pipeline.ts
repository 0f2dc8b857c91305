/** A pipeline of two small stages over a few numbers, in a folder of its own: what tests of the command line run. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface SmallPipeline {
  manifest: string;
  input: string;
}

/** `values`: one shard each. Stage `double` fails for the value `bad`, and waits for the file `gate` where one is named. */
export function writeSmallPipeline(dir: string, values: readonly number[]): SmallPipeline {
  mkdirSync(dir, { recursive: true });
  const manifest = join(dir, 'pipeline.yaml');
  const input = join(dir, 'values.csv');
  writeFileSync(input, `value\n${values.join('\n')}\n`);
  writeFileSync(
    join(dir, 'double.ts'),
    `import { watch, existsSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { defineStage } from 'podline';

/** Until the file is there. */
const opened = (path: string, signal: AbortSignal) =>
  new Promise<void>((resolve, reject) => {
    const watcher = watch(dirname(path), () => look());
    const look = () => {
      if (!existsSync(path)) return;
      watcher.close();
      resolve();
    };
    signal.addEventListener('abort', () => {
      watcher.close();
      reject(signal.reason);
    });
    look();
  });

export default defineStage({
  input: { value: { type: 'int32', nullable: true } },
  output: { twice: 'int32' },
  parameters: { bad: 'number', gate: 'string' },
  async block(batch, ctx) {
    if (ctx.parameters.gate !== '') await opened(ctx.parameters.gate, ctx.signal);
    const values = Array.from({ length: batch.rows }, (_, row) => batch.columns.value.at(row) ?? 0);
    if (values.includes(ctx.parameters.bad)) throw new Error('the value ' + ctx.parameters.bad + ' is bad');
    ctx.logger.warn('doubled', { rows: batch.rows });
    return { columns: { twice: Int32Array.from(values, (value) => value * 2) } };
  },
});
`,
  );
  writeFileSync(
    join(dir, 'sum.ts'),
    `import { defineStage } from 'podline';

export default defineStage({
  files: (inputs) => ({ 'sum.txt': String(inputs.only().toRows().reduce((sum, row) => sum + Number(row.twice), 0)) }),
});
`,
  );
  writeFileSync(
    manifest,
    `apiVersion: podline.dev/v1alpha1
kind: Pipeline
metadata:
  name: small
spec:
  parameters:
    bad: { type: integer, default: -1 }
    gate: { type: string, default: '' }
  input:
    source: values.csv
    format: csv
    columns: { value: int32 }
    chunk: { rows: 1 }
  scratch: { size: 64Mi }
  slots: 2
  stages:
    - { name: double, uses: ./double.ts, retries: 0 }
    - { name: sum, uses: ./sum.ts, after: [double] }
  retries: { limit: 0 }
  checkpoints: { keepCompleted: true }
  result: { dir: ./results }
`,
  );
  return { manifest, input };
}
