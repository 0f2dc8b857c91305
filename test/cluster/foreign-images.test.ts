/**
 * Stages whose images know nothing of Podline, in a real pod: one of busybox alone, one of Python, between them a stage in TypeScript, all
 * taking turns in two slots. The result is that of the same manifest on this machine, where the same commands are processes.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect } from 'vitest';
import { stringify } from 'yaml';
import type { RunSummary } from '../../runtime/cli/summary.js';
import type { Shard } from '../../runtime/contracts/shard.js';
import { entryPath } from '../../runtime/platform/entries.js';
import { needs } from '../support/require.js';
import { clusterScript, eventually, kubectl } from './support/cluster.js';
import { PodLine } from './support/pod-line.js';

const count = `
import json, os, pathlib, sys
parameters = json.loads(os.environ["PODLINE_PARAMETERS"])
words = pathlib.Path(os.environ["PODLINE_INPUT_DIR"], "shouted.bin").read_text().split()
tally = {word: words.count(word) for word in sorted(set(words))}
pathlib.Path(os.environ["PODLINE_OUTPUT_DIR"], "tally.json").write_text(json.dumps({"least": parameters["least"], **tally}))
print("counted", len(words), file=sys.stderr)
`;

needs('cluster', 'busybox-static', 'go').describe('stages of images that know nothing of Podline', () => {
  let dir: string;
  let laptop: RunSummary;
  let line: PodLine;
  let shard: Shard;
  let uids: [before: string, after: string];
  let swappedBy: string[];

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'podline-foreign-'));
    mkdirSync(join(dir, 'data'));
    const lines = Array.from({ length: 500 }, (_, id) => `${String(id)},${['oak', 'elm', 'ash'][id % 3] ?? ''}`);
    writeFileSync(join(dir, 'data', 'trees.csv'), `id,tree\n${lines.join('\n')}\n`);
    writeFileSync(join(dir, 'count.py'), count);
    writeFileSync(
      join(dir, 'shout.mjs'),
      "import { defineStage } from 'podline';\nexport default defineStage({ bytes: (chunk) => Buffer.from(Buffer.from(chunk).toString('utf8').toUpperCase()) });\n",
    );
    const [busybox, python] = await Promise.all([
      clusterScript(['foreign-image', 'busybox']),
      clusterScript(['foreign-image', 'python', join(dir, 'count.py')]),
    ]);
    const manifest = join(dir, 'pipeline.yaml');
    const stages = [
      { name: 'kept', image: busybox, command: ['grep', '-v', '"elm"'], stdio: 'ndjson' },
      {
        name: 'words',
        image: busybox,
        after: ['kept'],
        command: ['sh', '-c', 'strings -n 3 "$PODLINE_INPUT_DIR/kept.arrow" | grep -oE "oak|ash" > "$PODLINE_OUTPUT_DIR/words"'],
        output: 'bytes',
      },
      { name: 'shouted', after: ['words'], uses: './shout.mjs' },
      {
        name: 'counted',
        image: python,
        after: ['shouted'],
        command: ['python3', 'count.py'],
        output: 'files',
        parameters: { least: 2 },
      },
    ];
    writeFileSync(
      manifest,
      stringify({
        apiVersion: 'podline.dev/v1alpha1',
        kind: 'Pipeline',
        metadata: { name: 'foreign' },
        spec: {
          input: { source: './data/trees.csv', format: 'csv', columns: { id: 'int32', tree: 'utf8' } },
          scratch: { size: '64Mi' },
          slots: 2,
          stages,
          result: { dir: './results', stages: ['kept', 'counted'], format: 'csv' },
        },
      }),
    );
    const here = [entryPath('runtime/cli/main'), 'run', manifest, '--work-dir', join(dir, 'work'), '--json'];
    laptop = JSON.parse((await promisify(execFile)(process.execPath, here)).stdout) as RunSummary;
    line = await PodLine.start(manifest, `foreign-${String(process.pid)}`);
    await eventually('the pod', async () => ((await line.pod()).status.phase === 'Running' ? true : undefined));
    const before = (await line.pod()).metadata.uid;
    shard = (await line.run(''))[0] ?? expect.fail('there was no shard');
    uids = [before, (await line.pod()).metadata.uid];
    swappedBy = (await line.pod()).spec.containers.map(({ image }) => image);
  });

  afterAll(async () => {
    await line?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  needs('cluster', 'busybox-static', 'go').it('have the result that their commands have on this machine', () => {
    expect(shard.error).toBeUndefined();
    expect(shard.state).toBe('completed');
    expect(laptop.shards.completed).toBe(1);
    expect(shard.result?.hash).toBe(laptop.results[0]?.hash);
  });

  needs('cluster', 'busybox-static', 'go').it('take turns in one pod, each run once', () => {
    expect(uids[1]).toBe(uids[0]);
    expect(shard.report?.stages.map(({ stage, runs }) => [stage, runs])).toEqual([
      ['kept', 1],
      ['words', 1],
      ['shouted', 1],
      ['counted', 1],
    ]);
    expect(swappedBy.some((image) => image.includes('foreign/python'))).toBe(true);
  });

  needs('cluster', 'busybox-static', 'go').it('have nothing of Podline in them: no Node, no package', async () => {
    const slot = (await line.pod()).spec.containers.find(({ image }) => image.includes('foreign/python'));
    const look = 'import os, shutil; print(os.path.exists("/podline"), shutil.which("node"))';
    const said = await kubectl('-n', line.namespace, 'exec', line.name, '-c', slot?.name ?? '', '--', 'python3', '-c', look);
    expect(said).toBe('False None');
  });
});
