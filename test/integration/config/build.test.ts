/** `podline build`: the stages of a pipeline as an image carries them. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync, copyFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readManifest } from '../../../runtime/config/manifest.js';
import { resolvePipeline } from '../../../runtime/config/pipeline.js';
import { readStageIndex, type StageIndex } from '../../../runtime/config/stage-index.js';
import { entryPath, packageRoot } from '../../../runtime/platform/entries.js';

const manifest = join(packageRoot, 'examples', 'flights', 'pipeline.yaml');
const podline = (...args: string[]): string =>
  execFileSync(process.execPath, [entryPath('runtime/cli/main'), ...args], { encoding: 'utf8' });

let dir: string;
/** Laid out as the runtime image is, with what `podline build` wrote. */
let image: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'podline-build-test-'));
  image = join(dir, 'podline');
  mkdirSync(join(image, 'dist'), { recursive: true });
  for (const name of ['node_modules', 'native']) symlinkSync(join(packageRoot, name), join(image, name));
  copyFileSync(join(packageRoot, 'package.json'), join(image, 'package.json'));
  // Copied, so that what is run there takes its own place for the image's.
  execFileSync('cp', ['-r', join(packageRoot, 'dist', 'runtime'), join(image, 'dist')]);
  podline('build', manifest, '--out', image);
});
afterAll(() => {
  rmSync(dir, { recursive: true, force: true });
});

const imageStages = (pipeline: string): { status: number; answer: StageIndex & { error?: { code: string; hint: string } } } => {
  const entry = join(image, 'dist', 'runtime', 'config', 'image-stages.js');
  try {
    return {
      status: 0,
      answer: JSON.parse(execFileSync(process.execPath, [entry, pipeline], { encoding: 'utf8' })) as StageIndex,
    };
  } catch (error) {
    const { status, stdout } = error as { status: number; stdout: string };
    return { status, answer: JSON.parse(stdout) as StageIndex };
  }
};

describe('podline build', () => {
  it('gives each stage the version and the declaration that a run on a laptop finds', async () => {
    const { manifest: read, baseDir } = await readManifest(manifest);
    const laptop = await resolvePipeline(read, { baseDir, stagesDir: join(dir, 'laptop'), revision: 0 });
    const { stages } = await readStageIndex(image, 'flights');
    const told = ({ name, uses, version, module, declares }: (typeof laptop.stages)[number]) => ({
      name,
      uses,
      version,
      module,
      declares,
    });
    expect(stages).toEqual(JSON.parse(JSON.stringify(laptop.stages.map(told))));
    expect(stages).toHaveLength(5);
  });

  it('is read in the image by the name of the pipeline, and the modules are loaded where they lie', async () => {
    const { status, answer } = imageStages('flights');
    expect(status).toBe(0);
    expect(answer).toEqual(await readStageIndex(image, 'flights'));
    const script = `for (const { module, declares } of ${JSON.stringify(answer.stages)}) {
      const stage = (await import(${JSON.stringify(`file://${join(image, 'pipelines', 'flights')}/`)} + module)).default;
      if (JSON.stringify(stage.declaration) !== JSON.stringify(declares)) throw new Error(module);
    } console.log('loaded');`;
    expect(execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })).toBe('loaded\n');
  });

  it('says what the image carries when it is asked for another pipeline', () => {
    const { status, answer } = imageStages('flight');
    expect(status).toBe(1);
    expect(answer.error).toMatchObject({ code: 'PDL_STAGE_LOAD', hint: expect.stringContaining('flights') });
  });

  it('takes away what it wrote for stages that are no more, and nothing else', async () => {
    const out = join(dir, 'again');
    const folder = join(dir, 'source');
    mkdirSync(folder);
    const stage = (text: string): void =>
      writeFileSync(
        join(folder, 'stage.mjs'),
        `import { defineStage } from 'podline';\nexport default defineStage({ bytes: (chunk) => ${text} });\n`,
      );
    writeFileSync(
      join(folder, 'pipeline.yaml'),
      'apiVersion: podline.dev/v1alpha1\nkind: Pipeline\nmetadata: { name: small }\nspec:\n  input: { source: ./data, format: bytes }\n  stages:\n    - { name: one, uses: ./stage.mjs }\n    - { name: two, after: [one], command: [cat], output: bytes }\n    - { name: three, after: [two], uses: ./other.mjs }\n',
    );
    stage('chunk');
    writeFileSync(join(folder, 'other.mjs'), "export { default } from './other-work.mjs';\n");
    writeFileSync(
      join(folder, 'other-work.mjs'),
      "import { defineStage } from 'podline';\nexport default defineStage({ bytes: (chunk) => chunk });\n",
    );
    podline('build', join(folder, 'pipeline.yaml'), '--out', out);
    const before = (await readStageIndex(out, 'small')).stages;
    expect(before.map(({ name }) => name)).toEqual(['one', 'three']);
    writeFileSync(join(out, 'pipelines', 'small', 'words.txt'), 'beside it');
    const untouched = readFileSync(join(out, 'pipelines', 'small', before[1]?.module ?? ''));
    stage('chunk.subarray(1)');
    const json = JSON.parse(podline('build', join(folder, 'pipeline.yaml'), '--out', out, '--json')) as StageIndex;
    expect(json.stages[0]?.version).not.toBe(before[0]?.version);
    // A change of one stage touches one stage: version and module of the other are the same to the byte.
    expect(json.stages[1]).toEqual(before[1]);
    expect(readFileSync(join(out, 'pipelines', 'small', before[1]?.module ?? '')).equals(untouched)).toBe(true);
    expect(readdirSync(join(out, 'pipelines', 'small')).sort()).toEqual(
      [...json.stages.map(({ module }) => module), 'stages.json', 'words.txt'].sort(),
    );
    expect(readFileSync(join(out, 'pipelines', 'small', 'stages.json'), 'utf8')).toContain(json.stages[0]?.version);
  });
});
