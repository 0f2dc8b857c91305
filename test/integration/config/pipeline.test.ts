import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bundleStage } from '../../../runtime/config/bundle.js';
import { parseManifest } from '../../../runtime/config/manifest.js';
import { resolvePipeline } from '../../../runtime/config/pipeline.js';
import type { Pipeline } from '../../../runtime/contracts/manifest.js';
import { packageRoot } from '../../../runtime/platform/entries.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'podline-bundle-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function write(files: Record<string, string>, root = folder): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), text);
  }
}

const outDir = (): string => join(folder, 'out');
const bundle = (file: string): ReturnType<typeof bundleStage> => bundleStage(join(folder, file), { outDir: outDir() });
const load = async (module: string): Promise<Record<string, unknown>> =>
  (await import(/* @vite-ignore */ pathToFileURL(join(outDir(), module)).href)) as Record<string, unknown>;

const stage = (body = 'return batch.rows'): string => `
  import { defineStage } from 'podline';
  export default defineStage({ form: 'x', block: (batch: unknown) => { ${body} } } as never);
`;
const declaring = (input: string, output: string): string => `
  import { defineStage, column } from 'podline';
  export default defineStage({ input: { ${input} }, output: { ${output} }, block: (batch) => ({ columns: {} }) } as never);
`;

describe('a bundle', () => {
  it('of a stage outside any package that imports only podline runs', async () => {
    await write({ 'stage.ts': stage() });
    const { module, version } = await bundle('stage.ts');
    expect(module).toBe(`${version}.mjs`);
    expect((await load(module)).default).toMatchObject({ podlineStage: 1, declaration: { form: 'block' } });
  });

  it('carries relative imports, TypeScript and JSON, and the place of its source', async () => {
    await write({
      'stages/stage.ts': `import { twice } from '../lib/twice.js'; import table from './table.json' with { type: 'json' };
        export const value = twice(table.three); export const here = import.meta.url; export const dir = import.meta.dirname;`,
      'stages/table.json': '{"three": 3}',
      'lib/twice.ts': 'export const twice = (n: number): number => 2 * n; export const lib = import.meta.url;',
    });
    const { module } = await bundle('stages/stage.ts');
    expect(await load(module)).toMatchObject({
      value: 6,
      here: pathToFileURL(join(folder, 'stages', 'stage.ts')).href,
      dir: join(folder, 'stages'),
    });
  });

  it('finds packages of npm and of pnpm from where the source lies', async () => {
    const esm = {
      'package.json': '{"name":"left","version":"1.2.3","type":"module","exports":{".":{"import":"./index.js"}}}',
      'index.js': 'export const left = "npm";',
    };
    const cjs = { 'package.json': '{"name":"right","version":"2.0.0","main":"main.js"}', 'main.js': 'exports.right = "pnpm";' };
    await write(esm, join(folder, 'node_modules', 'left'));
    await write(cjs, join(folder, 'node_modules', '.pnpm', 'right@2.0.0', 'node_modules', 'right'));
    await symlink(join('.pnpm', 'right@2.0.0', 'node_modules', 'right'), join(folder, 'node_modules', 'right'));
    await write({
      'src/stage.ts': `import { left } from 'left'; import { right } from 'right'; export const both = [left, right, (await import('left')).left];`,
    });
    const { module } = await bundle('src/stage.ts');
    expect(await load(module)).toMatchObject({ both: ['npm', 'pnpm', 'npm'] });
    expect(await readFile(join(outDir(), module), 'utf8')).not.toContain('"npm"');
  });

  it('names what it imports as its source does in the form for an image, where the places of this machine mean nothing', async () => {
    await write({
      'node_modules/left/package.json': '{"name":"left","version":"1.2.3","type":"module","exports":{".":"./index.js"}}',
      'node_modules/left/index.js': 'export const left = "here";',
      'stage.ts': `import { left } from 'left'; import { isDefinedStage } from 'podline'; ${stage()} export { left, isDefinedStage }; export const at = [import.meta.url, import.meta.dirname];`,
    });
    const imageDir = join(folder, 'for-image');
    const { module } = await bundleStage(join(folder, 'stage.ts'), { outDir: outDir(), imageDir });
    expect(module).toBe((await bundle('stage.ts')).module);
    const text = (await readFile(join(imageDir, module), 'utf8')).replace(/\n\/\/# sourceMappingURL.*/s, '');
    expect(text).toContain('from "podline"');
    expect(text).not.toContain('file:');
    expect(text).not.toContain(folder);

    // An image in small: the runtime is the package around the stages, and has what they import.
    const image = join(folder, 'image', 'podline');
    await write(
      {
        'package.json': '{"name":"podline","version":"1.0.0","type":"module","exports":{".":"./dist/index.js"}}',
        'dist/index.js': 'export const defineStage = (stage) => stage; export const isDefinedStage = "of the image";',
        'node_modules/left/package.json': '{"name":"left","version":"1.2.3","type":"module","exports":{".":"./index.js"}}',
        'node_modules/left/index.js': 'export const left = "in the image";',
      },
      image,
    );
    await mkdir(join(image, 'stages'));
    await copyFile(join(imageDir, module), join(image, 'stages', module));
    const url = pathToFileURL(join(image, 'stages', module)).href;
    expect(await import(/* @vite-ignore */ url)).toMatchObject({
      left: 'in the image',
      isDefinedStage: 'of the image',
      at: [url, join(image, 'stages')],
    });
  });

  it('bundles a package of the same workspace, which is source', async () => {
    await write({
      'packages/shared/package.json': '{"name":"@me/shared","version":"1.0.0","type":"module","exports":"./index.ts"}',
      'packages/shared/index.ts': 'export const shared: string = "in";',
    });
    await mkdir(join(folder, 'node_modules', '@me'), { recursive: true });
    await symlink(join('..', '..', 'packages', 'shared'), join(folder, 'node_modules', '@me', 'shared'));
    await write({ 'stage.ts': `export { shared } from '@me/shared';` });
    expect(await load((await bundle('stage.ts')).module)).toMatchObject({ shared: 'in' });
  });

  it('lets CommonJS beside it require what Node has', async () => {
    await write({
      'old.cjs': `const { basename } = require('node:path'); module.exports = { name: basename('/a/b') };`,
      'stage.ts': `import old from './old.cjs'; export const name = old.name;`,
    });
    expect(await load((await bundle('stage.ts')).module)).toMatchObject({ name: 'b' });
  });

  it('carries text, beside it or in a package, as strings', async () => {
    await write({
      'node_modules/data/table.csv': 'a,b\n1,2\n',
      'words.txt': 'one',
      'stage.ts': `import words from './words.txt'; import table from 'npm:data/table.csv'; export const both = [words, table];`,
    });
    expect(await load((await bundle('stage.ts')).module)).toMatchObject({ both: ['one', 'a,b\n1,2\n'] });
  });

  it('carries a source map to its source', async () => {
    await write({ 'stage.ts': stage() });
    const text = await readFile(join(outDir(), (await bundle('stage.ts')).module), 'utf8');
    const map = JSON.parse(Buffer.from(/base64,([A-Za-z0-9+/=]+)\s*$/.exec(text)?.[1] ?? '', 'base64').toString()) as {
      sources: string[];
    };
    expect(map.sources.join()).toContain('stage.ts');
  });
});

describe('the version of a bundle', () => {
  const versionOf = async (files: Record<string, string>, root = folder): Promise<string> => {
    await write(files, root);
    return (await bundleStage(join(root, 'stage.ts'), { outDir: outDir() })).version;
  };

  it('is the same in another folder and after a change of comments', async () => {
    const first = await versionOf({
      'stage.ts': `import { a } from './a.js'; ${stage('return import.meta.url')} export { a };`,
      'a.ts': 'export const a = 1;',
    });
    await mkdir(join(folder, 'copy'));
    for (const name of ['stage.ts', 'a.ts']) await copyFile(join(folder, name), join(folder, 'copy', name));
    expect(await versionOf({}, join(folder, 'copy'))).toBe(first);
    expect(await versionOf({ 'a.ts': '// said anew\nexport const a = 1;' })).toBe(first);
  });

  it('changes with the code, also of an import', async () => {
    const first = await versionOf({ 'stage.ts': `export { a } from './a.js';`, 'a.ts': 'export const a = 1;' });
    expect(await versionOf({ 'a.ts': 'export const a = 2;' })).not.toBe(first);
  });

  it('changes with the version of a package, not with where it is installed', async () => {
    const pack = (version: string): Record<string, string> => ({
      'node_modules/p/package.json': `{"name":"p","version":"${version}","main":"i.js"}`,
      'node_modules/p/i.js': 'exports.p = 1;',
      'stage.ts': `export { p } from 'p';`,
    });
    const first = await versionOf(pack('1.0.0'));
    expect(await versionOf(pack('1.0.0'), join(folder, 'other'))).toBe(first);
    expect(await versionOf(pack('1.0.1'))).not.toBe(first);
  });
});

describe('a stage that cannot be built', () => {
  it.each([
    ['a syntax error', 'export default {\n  a: ,\n};\n', /stage\.ts:2:6 /],
    [
      'a package that is not there',
      `\nimport { x } from 'no-such-package';\nexport default x;\n`,
      /stage\.ts:2:19 Could not resolve "no-such-package"/,
    ],
    ['a file that is not there', `import './gone.js';\n`, /stage\.ts:1:8 Could not resolve "\.\/gone\.js"/],
  ])('%s is told with file, line and column', async (_, text, message) => {
    await write({ 'stage.ts': text });
    await expect(bundle('stage.ts')).rejects.toMatchObject({ code: 'PDL_STAGE_LOAD', message: expect.stringMatching(message) });
  });

  it('is named when it is not there at all', async () => {
    await expect(bundle('none.ts')).rejects.toMatchObject({
      code: 'PDL_STAGE_LOAD',
      message: `there is no stage file ${join(folder, 'none.ts')}`,
    });
  });
});

describe('a pipeline', () => {
  const resolve = async (spec: string): Promise<Pipeline> => {
    const text = `apiVersion: podline.dev/v1alpha1\nkind: Pipeline\nmetadata: {name: p}\nspec:\n${spec}`;
    const { manifest, faults } = parseManifest(text, 'p.yaml');
    if (manifest === undefined) throw new Error(faults.map((fault) => fault.message).join());
    return await resolvePipeline(manifest, { baseDir: folder, stagesDir: outDir(), revision: 3 });
  };

  it('has bundles, declarations, defaults and versions', async () => {
    await write({ 'a.ts': declaring(`x: 'int32'`, `y: { type: 'float64', nullable: true }`), 'run.py': 'print(1)' });
    const pipeline = await resolve(
      '  input: {format: csv, columns: {x: int32}}\n  stages:\n    - {name: a, uses: ./a.ts, timeout: 90s}\n    - {name: b, command: [python3, run.py], after: [a]}\n',
    );
    expect(pipeline).toMatchObject({ name: 'p', revision: 3, baseDir: folder });
    const [a, b] = pipeline.stages;
    expect(a).toMatchObject({
      after: ['input'],
      timeoutMs: 90_000,
      declares: {
        form: 'block',
        keep: 'all',
        input: { x: { type: 'int32' } },
        output: { y: { type: 'float64', nullable: true } },
      },
    });
    expect(await readdir(outDir())).toEqual([a?.module]);
    expect(b).toMatchObject({ after: ['a'], cwd: folder });
    expect(b).not.toHaveProperty('module');
  });

  it('gives a command another version when a file among its arguments changes, and only then', async () => {
    await write({ 'run.py': 'print(1)' });
    const spec = '  stages: [{name: b, command: [python3, run.py]}]\n';
    const version = async (): Promise<string | undefined> => (await resolve(spec)).stages[0]?.version;
    const first = await version();
    expect(await version()).toBe(first);
    await write({ 'run.py': 'print(2)' });
    expect(await version()).not.toBe(first);
  });

  it.each([
    ['exports something else', 'export default 5;', /its default export is not made by defineStage/],
    ['exports nothing', 'export const a = 1;', /it has no default export/],
    ['throws while it is loaded', 'throw new Error("no luck");', /no luck/],
    ['ends its process', 'process.exit(0);', /its import ended the process/],
    ['crashes', 'process.kill(process.pid, "SIGSEGV"); await new Promise(() => undefined);', /its import ended the process/],
    [
      'has two forms',
      `import { defineStage } from 'podline'; export default defineStage({ block: () => 1, row: () => 1 } as never);`,
      /exactly one of/,
    ],
  ])('names a stage that %s, and lives on', async (_, text, message) => {
    await write({ 'good.ts': stage(), 'bad.ts': text });
    const error = await resolve(
      '  input: {format: csv}\n  stages: [{name: good, uses: ./good.ts}, {name: bad, uses: ./bad.ts}]\n',
    ).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: 'PDL_STAGE_LOAD',
      place: join(folder, 'bad.ts'),
      message: expect.stringMatching(message),
    });
  });

  it('is refused when a stage asks for a column that cannot be there', async () => {
    await write({ 'a.ts': declaring(`x: 'int64'`, `y: 'int8'`) });
    await expect(
      resolve('  input: {format: csv, columns: {x: int32}}\n  stages: [{name: a, uses: ./a.ts}]\n'),
    ).rejects.toMatchObject({ code: 'PDL_STAGE_COLUMNS', place: 'a.x' });
  });

  it('is told of every column that is wrong, at its stage', async () => {
    await write({ 'a.ts': declaring(`x: 'int64', z: 'utf8'`, `y: 'int8'`), 'b.ts': declaring(`y: 'list<int8>'`, `w: 'int8'`) });
    const refused = resolve(
      '  input: {format: csv, columns: {x: int32}}\n  stages: [{name: a, uses: ./a.ts}, {name: b, uses: ./b.ts, after: [a]}]\n',
    );
    await expect(refused).rejects.toMatchObject({
      code: 'PDL_STAGE_COLUMNS',
      message: [
        'stage a asks for the column x of type int64; it reaches it as int32 from input',
        'stage a asks for the column z of type utf8; what reaches it has x int32',
        'stage b asks for the column y of type list<int8>; it reaches it as int8 from a',
      ].join('\n'),
    });
  });

  it('of 128 stages is resolved', async () => {
    const names = Array.from({ length: 128 }, (_, index) => `s${index}`);
    await write(Object.fromEntries(names.map((name) => [`${name}.ts`, declaring('', `${name}: 'int32'`)])));
    const pipeline = await resolve(
      `  input: {format: csv}\n  stages:\n${names.map((name, index) => `    - {name: ${name}, uses: ./${name}.ts${index === 0 ? '' : `, after: [s${index - 1}]`}}\n`).join('')}`,
    );
    expect(new Set(pipeline.stages.map(({ version }) => version)).size).toBe(128);
  });
});

it('the example pipeline resolves', async () => {
  const baseDir = join(packageRoot, 'examples', 'flights');
  const { manifest } = parseManifest(await readFile(join(baseDir, 'pipeline.yaml'), 'utf8'), 'pipeline.yaml');
  const pipeline = await resolvePipeline(manifest!, { baseDir, stagesDir: outDir(), revision: 1 });
  expect(pipeline.stages.map(({ name }) => name)).toContain('clean');
});
