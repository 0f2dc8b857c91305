import { afterAll, beforeAll, expect } from 'vitest';
import { join } from 'node:path';
import { packageRoot } from '../../runtime/platform/entries.js';
import { needs } from '../support/require.js';
import { PodLine } from './support/pod-line.js';

needs('cluster').describe('one', () => {
  let line: PodLine;
  beforeAll(async () => {
    line = await PodLine.start(join(packageRoot, 'examples/flights/pipeline.yaml'), `one-pod-${String(process.pid)}`);
  });
  afterAll(async () => {
    await line?.close();
  });
  needs('cluster').it('walks', async () => {
    const at = performance.now();
    const shards = await line.run('');
    console.log(JSON.stringify(line.summary(shards, performance.now() - at)));
    console.log(JSON.stringify(await line.pod(), undefined, 1).slice(-3000));
    expect(shards[0]?.state).toBe('completed');
  }, 120_000);
});
