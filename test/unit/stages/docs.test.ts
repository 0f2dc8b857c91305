/** The examples of docs/stages.md: type-checked together, as a user's compiler would, and run. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import ts from 'typescript';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import * as podline from '../../../runtime/index.js';
import { column, defineStage, type DefinedStage } from '../../../runtime/index.js';
import { Shard } from './shard.js';

const root = join(import.meta.dirname, '../../..');
const folder = join(root, 'examples/of-the-docs');

/** Code blocks that begin with the name of a file. */
async function examplesOf(page: string): Promise<Map<string, string>> {
  const text = await readFile(join(root, page), 'utf8');
  const blocks = [...text.matchAll(/```ts\n\/\/ (\S+)\.ts\n([\s\S]*?)```/g)];
  return new Map(blocks.map((match) => [match[1] ?? '', match[2] ?? '']));
}

/** What does not change between two compilations. */
const sources = new Map<string, ts.SourceFile | undefined>();
const compileTimeoutMs = 60_000;

/** What the compiler has to say about the examples, as if they lay in a folder of their own. */
function diagnosticsOf(examples: Map<string, string>): string[] {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.examples.json'), (path) => ts.sys.readFile(path)) as {
    config: object;
  };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const host = ts.createCompilerHost(options);
  const texts = new Map([...examples].map(([name, text]) => [join(folder, `${name}.ts`), text]));
  const { fileExists, readFile: readText, getSourceFile, directoryExists } = host;
  host.fileExists = (path) => texts.has(path) || fileExists(path);
  host.directoryExists = (path) => path === folder || (directoryExists?.(path) ?? false);
  host.readFile = (path) => texts.get(path) ?? readText(path);
  host.getSourceFile = (path, version, ...rest) => {
    const text = texts.get(path);
    if (text !== undefined) return ts.createSourceFile(path, text, version);
    if (!sources.has(path)) sources.set(path, getSourceFile(path, version, ...rest));
    return sources.get(path);
  };
  const program = ts.createProgram([...texts.keys()], options, host);
  return [...texts.keys()].flatMap((path) => {
    const file = program.getSourceFile(path);
    return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)].map(
      (diagnostic) => `${path.slice(folder.length + 1)}: ${ts.flattenDiagnosticMessageText(diagnostic.messageText, ' ')}`,
    );
  });
}

/** The default export of an example. */
function stageOf(examples: Map<string, string>, name: string): DefinedStage {
  const text = examples.get(name);
  if (text === undefined) throw new Error(`docs/stages.md has no example ${name}.ts`);
  const { outputText } = ts.transpileModule(text, {
    compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 },
  });
  const module: { exports: { default?: DefinedStage } } = { exports: {} };
  const load = (wanted: string): unknown =>
    wanted === 'podline' ? podline : { default: stageOf(examples, wanted.slice(2, -3)) };
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the pages of this repository
  const run = new Function('module', 'exports', 'require', outputText) as (...given: unknown[]) => void;
  run(module, module.exports, load);
  if (module.exports.default === undefined) throw new Error(`${name}.ts has no default export`);
  return module.exports.default;
}

let examples: Map<string, string>;
let shard: Shard;
beforeAll(async () => {
  examples = await examplesOf('docs/stages.md');
});
beforeEach(async () => {
  shard = await Shard.open();
  await shard.load('input', {
    origin: column.dictionary.from(['EWR', 'JFK', '', 'EWR']),
    delay: column.int16.from([20, -5, null, 40]),
  });
  await shard.run(
    'whole',
    defineStage({ input: { delay: { type: 'int16', nullable: true } }, row: (row) => row.delay !== null }),
  );
});
afterEach(() => shard.close());

const run = async (name: string, input: string, parameters = {}): Promise<Record<string, unknown>[]> => {
  await shard.run(name, stageOf(examples, name), [input], parameters);
  return shard.rows(name);
};

describe('the examples of docs/stages.md', () => {
  it(
    'compile, a graph that follows among them',
    () => {
      expect([...examples.keys()]).toEqual(
        expect.arrayContaining(['late', 'known', 'routes', 'mean', 'xor', 'summary', 'norms', 'tidy', 'longest', 'graph']),
      );
      expect(diagnosticsOf(examples)).toEqual([]);
    },
    compileTimeoutMs,
  );

  it(
    'do not compile with a stage where the page says that it would not fit, and say so in its words',
    async () => {
      const graph = (examples.get('graph') ?? '').replace("mean, after: ['late']", "mean, after: ['tidy']");
      const message = /`(mean asks for [^`]*)`/.exec(await readFile(join(root, 'docs/stages.md'), 'utf8'))?.[1] ?? '';
      expect(diagnosticsOf(new Map([...examples, ['graph', graph]])).join()).toContain(message);
    },
    compileTimeoutMs,
  );

  it('block', async () => {
    expect((await run('late', 'whole', { lateAfter: 15 })).map(({ late }) => late)).toEqual([1, 0, 1]);
    expect(await run('known', 'input')).toEqual(shard.rows('whole'));
  });

  it('row', async () => {
    expect(await run('routes', 'input')).toEqual([
      { origin: 'EWR', delay: 20, text: 'from EWR', hours: Math.fround(20 / 60) },
      { origin: 'JFK', delay: -5, text: 'from JFK', hours: Math.fround(-5 / 60) },
      { origin: 'EWR', delay: 40, text: 'from EWR', hours: Math.fround(40 / 60) },
    ]);
  });

  it('aggregate', async () => {
    expect(await run('mean', 'whole')).toEqual([
      { origin: 'EWR', flights: 2, meanDelay: 30 },
      { origin: 'JFK', flights: 1, meanDelay: -5 },
    ]);
    expect(await run('longest', 'whole')).toEqual([{ longest: 40 }]);
  });

  it('bytes, of which the chunk itself costs nothing', async () => {
    await shard.loadBytes('text', Buffer.from('abc'), Buffer.from('xyz'));
    const same = await shard.run('same', stageOf(examples, 'xor'), ['text'], { key: 0 });
    expect(same.bytes.memory.written).toBe(0);
    expect(shard.text('same')).toBe('abcxyz');
    await shard.run('other', stageOf(examples, 'xor'), ['text'], { key: 32 });
    expect(shard.text('other')).toBe('ABCXYZ');
  });

  it('files', async () => {
    await run('late', 'whole', { lateAfter: 15 });
    await shard.run('summary', stageOf(examples, 'summary'), ['late']);
    expect(shard.text('summary', 'late.txt')).toBe('2 of 3 were late\n');
    expect(JSON.parse(shard.text('summary', 'rows.json'))).toEqual(shard.rows('late'));
  });

  it('lists', async () => {
    await shard.load('vectors', {
      vector: column.list('float32').from([
        [3, 4],
        [0, 2, 0],
      ]),
    });
    expect(await run('norms', 'vectors')).toEqual([
      { vector: [3, 4], norm: 5, unit: [3, 4].map((value) => Math.fround(value / 5)) },
      { vector: [0, 2, 0], norm: 2, unit: [0, 1, 0] },
    ]);
  });

  it('keep and rename', async () => {
    expect((await run('tidy', 'whole')).map((row) => Object.entries(row))).toEqual([
      [
        ['departure', 'EWR'],
        ['delay', 20],
      ],
      [
        ['departure', 'JFK'],
        ['delay', -5],
      ],
      [
        ['departure', 'EWR'],
        ['delay', 40],
      ],
    ]);
  });
});
