import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManifestError } from '../../../runtime/config/faults.js';
import { lintManifest, parseManifest, readManifest } from '../../../runtime/config/manifest.js';

/** A sound manifest whose spec is what is given; `stages` alone is the least. */
const manifest = (spec: string): string =>
  `apiVersion: podline.dev/v1alpha1\nkind: Pipeline\nmetadata:\n  name: flights\nspec:\n${spec}`;
const oneStage = '  stages:\n    - name: only\n      command: [cat]\n';

const told = (text: string): string[] =>
  parseManifest(text, 'p.yaml').faults.map(
    ({ line, column, path, message, hint, severity }) =>
      `${line}:${column} ${path} | ${message} | ${hint}${severity === 'warning' ? ' | warning' : ''}`,
  );

describe('a sound manifest', () => {
  it('is read with its defaults', () => {
    const { manifest: read, faults } = parseManifest(manifest(oneStage), 'p.yaml');
    expect(faults).toEqual([]);
    expect(read?.spec).toMatchObject({
      input: { format: 'bytes', blockRows: 65_536, blockBytes: '4Mi' },
      scratch: { medium: 'Memory', size: '1Gi', spill: true },
      slots: 'auto',
      checkpoints: { ssd: 'stage', major: 'never', retain: 2 },
      retries: { limit: 3, backoff: { initial: '1s', factor: 2, max: '60s' } },
      result: { dir: './results', format: 'arrow' },
    });
    expect(read?.spec.stages[0]).toMatchObject({ executor: 'thread', bound: 'cpu', workers: 'auto', retries: 2, combine: 'zip' });
  });

  it('may use anchors and merge keys of YAML', () => {
    const text = manifest('  stages:\n    - &a {name: a, command: [cat]}\n    - {<<: *a, name: b, after: [a]}\n');
    expect(parseManifest(text, 'p.yaml').manifest?.spec.stages[1]).toMatchObject({ name: 'b', command: ['cat'], after: ['a'] });
  });
});

describe('a fault is told with line, column, path and a way out', () => {
  it.each([
    [
      'an unknown key, with the nearest known one',
      '  stages:\n    - name: a\n      command: [cat]\n      timout: 5s\n',
      '9:7 spec.stages[0].timout | the key `timout` is not known | Did you mean `timeout`?',
    ],
    [
      'an unknown key of a nested field',
      `  input: {blockRow: 5}\n${oneStage}`,
      '6:11 spec.input.blockRow | the key `blockRow` is not known | Did you mean `blockRows`?',
    ],
    [
      'a value outside an enumeration',
      `  input: {format: parqet}\n${oneStage}`,
      '6:19 spec.input.format | `parqet` is not allowed | Did you mean `parquet`? Allowed: parquet, csv, ndjson, arrow, bytes.',
    ],
    [
      'a value that is far from all',
      `  scratch: {medium: Tape}\n${oneStage}`,
      '6:21 spec.scratch.medium | `Tape` is not allowed | Write one of `Memory`, `SSD`.',
    ],
    ['a number that is too small', `  slots: 0\n${oneStage}`, '6:10 spec.slots | `0` is not at least 1 | Give at least 1.'],
    [
      'a word where a number may stand',
      `  slots: many\n${oneStage}`,
      '6:10 spec.slots | `many` is not allowed | Write `auto`, or a number.',
    ],
    [
      'a quantity that is none',
      `  scratch: {size: 5Gb}\n${oneStage}`,
      '6:19 spec.scratch.size | `5Gb` must be a quantity such as 512Mi, 2Gi or 500m | ',
    ],
    [
      'a variant that is none',
      `  input: {format: csv, chunk: {row: 5}}\n${oneStage}`,
      '6:31 spec.input.chunk | `{"row":5}` is not allowed | Write one of the keys rows, bytes.',
    ],
    [
      'a fault deep in a variant',
      `  input: {format: csv, chunk: {rows: -5}}\n${oneStage}`,
      '6:38 spec.input.chunk.rows | `-5` is not at least 0 | Give at least 0.',
    ],
    [
      'a key that is missing, at its parent',
      '  stages:\n    - command: [cat]\n',
      '7:7 spec.stages[0].name | `name` is missing | Add it: text.',
    ],
    [
      'neither uses nor command',
      '  stages:\n    - name: a\n',
      '7:7 spec.stages[0] | a stage has either `uses` (TypeScript) or `command` (any program), and not both | Keep one of them.',
    ],
    [
      'a stage in after that is not there',
      '  stages:\n    - {name: load, command: [cat]}\n    - {name: b, command: [cat], after: [laod]}\n',
      '8:41 spec.stages[1].after[0] | there is no stage `laod` | Did you mean `load`?',
    ],
    [
      'a stage named twice',
      '  stages:\n    - {name: a, command: [cat]}\n    - {name: a, command: [cat]}\n',
      '8:14 spec.stages[1].name | the name `a` is taken by spec.stages[0] | Give each stage a name of its own.',
    ],
    [
      'the reserved name',
      '  stages:\n    - {name: input, command: [cat]}\n',
      '7:14 spec.stages[0].name | `input` is the name of what the loader writes | Give the stage another name.',
    ],
    [
      'a result stage that is not there',
      `${oneStage}  result: {stages: [onyl]}\n`,
      '9:21 spec.result.stages[0] | there is no stage `onyl` | Did you mean `only`?',
    ],
    [
      'a default that its own schema refuses',
      `  parameters:\n    p: {type: integer, default: 5.5}\n${oneStage}`,
      '7:33 spec.parameters.p.default | the default `5.5` is not of type integer | Make the default one that the parameter allows.',
    ],
    [
      'a default outside its enumeration',
      `  parameters:\n    p: {type: string, enum: [CA], default: NY}\n${oneStage}`,
      '7:44 spec.parameters.p.default | the default `NY` is none of CA | Make the default one that the parameter allows.',
    ],
    [
      'bounds the wrong way round',
      `  parameters:\n    p: {type: number, minimum: 9, maximum: 3}\n${oneStage}`,
      '7:32 spec.parameters.p.minimum | minimum 9 is greater than maximum 3 | Swap them.',
    ],
    [
      'a pattern that is none',
      `  parameters:\n    p: {type: string, pattern: "("}\n${oneStage}`,
      '7:32 spec.parameters.p.pattern | `(` is not a regular expression | Mend it.',
    ],
    [
      'columns of bytes',
      `  input: {columns: [a]}\n${oneStage}`,
      '6:20 spec.input.columns | format bytes has no columns | Set `format`, or remove `columns`.',
    ],
  ])('%s', (_, spec, fault) => {
    expect(told(manifest(spec))).toEqual([fault]);
  });

  it('a cycle, named in the order in which data would flow', () => {
    const spec =
      '  stages:\n    - {name: a, command: [cat], after: [c]}\n    - {name: b, command: [cat], after: [a]}\n    - {name: c, command: [cat], after: [b]}\n';
    const { faults } = parseManifest(manifest(spec), 'p.yaml');
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatchObject({ code: 'PDL_MANIFEST_CYCLE', line: 7, message: 'the stages form a cycle: a → b → c → a' });
  });

  it('a stage after itself', () => {
    expect(told(manifest('  stages:\n    - {name: a, command: [cat], after: [a]}\n'))[0]).toContain('`a` comes after itself');
  });

  it('what is no YAML, with its line', () => {
    const { manifest: read, faults } = parseManifest('apiVersion: x\nkind: [\n', 'p.yaml');
    expect(read).toBeUndefined();
    expect(faults[0]).toMatchObject({ code: 'PDL_MANIFEST_SYNTAX', line: 3 });
  });

  it.each(['', '- a\n- b\n', 'text', '---\na: 1\n---\nb: 2\n'])('a document that is no manifest: %j', (text) => {
    const { manifest: read, faults } = parseManifest(text, 'p.yaml');
    expect(read).toBeUndefined();
    expect(faults.length).toBeGreaterThan(0);
  });

  it('several at once, in the order of the file', () => {
    const faults = told(
      manifest(
        '  slots: 0\n  input: {format: cvs}\n  stages:\n    - {name: a, command: [cat], after: [b]}\n    - {name: C, command: [cat]}\n',
      ),
    );
    expect(faults.map((fault) => fault.split(' ')[1])).toEqual([
      'spec.slots',
      'spec.input.format',
      'spec.stages[0].after[0]',
      'spec.stages[1].name',
    ]);
  });
});

describe('a warning does not keep a pipeline from running', () => {
  it('an executor of the cluster on one machine', () => {
    const { manifest: read, faults } = parseManifest(
      manifest('  stages:\n    - {name: a, command: [cat], executor: container}\n'),
      'p.yaml',
    );
    expect(read).toBeDefined();
    expect(faults).toMatchObject([{ severity: 'warning', path: 'spec.stages[0].executor' }]);
  });
});

describe('a manifest in a file', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'podline-manifest-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });
  const write = async (text: string): Promise<string> => {
    await writeFile(join(folder, 'pipeline.yaml'), text);
    return join(folder, 'pipeline.yaml');
  };

  it('is read with its folder', async () => {
    const file = await write(manifest(oneStage));
    expect(await readManifest(file)).toMatchObject({ file, baseDir: folder, manifest: { metadata: { name: 'flights' } } });
  });

  it('fails with all faults in one error, the first as its place', async () => {
    const file = await write(manifest('  slots: 0\n  stages:\n    - {name: a, command: [cat], after: [b]}\n'));
    const error = await readManifest(file).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ManifestError);
    expect(error).toMatchObject({ code: 'PDL_MANIFEST_INVALID', place: `${file}:6:10` });
    expect((error as ManifestError).faults).toHaveLength(2);
    expect((error as ManifestError).message).toMatch(/2 faults[\s\S]*spec\.slots[\s\S]*there is no stage `b`/);
  });

  it('keeps the code of a cycle when that is its only fault', async () => {
    const file = await write(manifest('  stages:\n    - {name: a, command: [cat], after: [a]}\n'));
    await expect(readManifest(file)).rejects.toMatchObject({ code: 'PDL_MANIFEST_CYCLE' });
  });

  it('names a stage file that is not there', async () => {
    const file = await write(manifest('  stages:\n    - name: a\n      uses: ./gone.ts\n'));
    expect(await lintManifest(file)).toMatchObject([
      { line: 8, column: 13, path: 'spec.stages[0].uses', code: 'PDL_STAGE_LOAD' },
    ]);
    await expect(readManifest(file)).rejects.toMatchObject({ code: 'PDL_STAGE_LOAD' });
  });

  it('that is not there is a fault of use', async () => {
    await expect(readManifest(join(folder, 'none.yaml'))).rejects.toMatchObject({ code: 'PDL_USAGE' });
  });
});
