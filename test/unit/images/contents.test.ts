/** Two definitions of one image: the Dockerfile, and what the test cluster makes without a daemon. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { planLines } from '../../../runtime/cluster/plan-pod.js';
import { pipelineSchema } from '../../../runtime/contracts/manifest.js';
import { packageRoot } from '../../../runtime/platform/entries.js';
import { imageConfig, imageLayers } from '../../../scripts/image-contents.mjs';

const read = (path: string): string => readFileSync(join(packageRoot, path), 'utf8');
/** The instructions of the last stage: what becomes the image. */
const lastStage = (dockerfile: string): string[] =>
  (dockerfile.split(/^FROM .*$/m).at(-1) ?? '').split('\n').filter((line) => line !== '' && !line.startsWith('#'));
const targets = imageLayers()
  .flat()
  .map(([, target]) => target);
const isIn = (path: string): boolean => targets.some((target) => path === target || path.startsWith(`${target}/`));

describe('the runtime image', () => {
  it('has the same contents from the Dockerfile as without a daemon: both take them from one list', () => {
    expect(read('Dockerfile')).toContain('node scripts/image-contents.mjs copy /out');
    expect(lastStage(read('Dockerfile')).filter((line) => line.startsWith('COPY'))).toEqual(['COPY --from=build /out/ /']);
    expect(read('test/cluster/image.sh')).toContain('scripts/image-contents.mjs" layers');
  });

  it('has the same configuration from both', () => {
    const { entrypoint, env, user, workdir } = imageConfig;
    const expected = [
      ...Object.entries(env).map(([name, value]) => `ENV ${name}=${value}`),
      `WORKDIR ${workdir}`,
      `USER ${user}`,
      `ENTRYPOINT ${JSON.stringify(entrypoint).replaceAll(',', ', ')}`,
    ];
    expect(lastStage(read('Dockerfile')).filter((line) => !line.startsWith('COPY'))).toEqual(expected);
    expect(read('test/cluster/image.sh')).toContain('scripts/image-contents.mjs" config');
    const printed = execFileSync(process.execPath, [join(packageRoot, 'scripts', 'image-contents.mjs'), 'config'], {
      encoding: 'utf8',
    });
    expect(printed.trim().split('\n')).toEqual([
      '--entrypoint',
      JSON.stringify(entrypoint),
      '--user',
      user,
      '--workdir',
      workdir,
      ...Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
    ]);
  });

  it('holds what pods start, every dependency, and no tests or tools of development', () => {
    const { spec, metadata } = pipelineSchema.parse({
      apiVersion: 'podline.dev/v1alpha1',
      kind: 'Pipeline',
      metadata: { name: 'flights' },
      spec: { stages: [{ name: 'clean', uses: './clean.ts' }] },
    });
    const planned = planLines(
      { name: metadata.name, revision: 1, spec, stages: [], baseDir: '/' },
      {
        namespace: 'n',
        name: 'n',
        lines: 1,
        slots: 1,
        image: `a@sha256:${'0'.repeat(64)}`,
        coordinatorUrl: '',
        credentials: { audience: '' },
        ssdHostPath: '/',
        volume: { claim: '' },
        user: 1,
      },
    );
    const named = JSON.stringify(planned).match(/\/podline\/[\w./-]+/g) ?? [];
    const fixed = named.filter((path) => !path.startsWith('/podline/pipelines/'));
    expect(fixed.length).toBeGreaterThan(1);
    expect(fixed.filter((path) => !isIn(path))).toEqual([]);
    expect(isIn(imageConfig.entrypoint[1] ?? '')).toBe(true);
    const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;
    expect(Object.keys(dependencies ?? {}).filter((name) => !isIn(`/podline/node_modules/${name}`))).toEqual([]);
    const stray = Object.keys(devDependencies ?? {}).filter(
      (name) => !name.startsWith('@types/') && isIn(`/podline/node_modules/${name}`),
    );
    expect(stray).toEqual([]);
    expect(targets.some((target) => /\/(test|benchmarks|src)\b/.test(target))).toBe(false);
  });

  it('runs as somebody who is not root', () => {
    expect(Number(imageConfig.user.split(':')[0])).toBeGreaterThan(0);
  });
});
