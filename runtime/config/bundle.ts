/**
 * Makes one ES module of a stage file and what it imports, and a version of it.
 *
 * Owns: the bundle under `<outDir>/<version>.mjs`, and what the version is made of. Loading it is the shim's part.
 *
 * Relative imports are bundled; text (csv, txt, …) and files of packages (`npm:package/data/table.csv`) become strings. Bare imports
 * (packages) stay imports. A bundle has up to three forms that differ only in how these are named:
 *   - here, by absolute file URL, so that it runs from any folder of this machine;
 *   - in an image, by the names that the source uses, which are looked up from where the bundle lies there: `podline` is the image's
 *     own, `/podline`, and packages lie in `/podline/node_modules` or in a `node_modules` beside the bundle;
 *   - for the version, as `name@version`, so that it is the same on every machine.
 *
 * Invariants
 *  1. The version depends on code, on versions of packages, and on the version of the stage API; not on paths, comments, layout or build of Podline.
 *  2. `podline` is always this installation: a stage needs no package.json, and there is one instance of the runtime per process.
 *  3. The bundle is written whole or not at all. `import.meta.url` in it is that of the source file; in an image, where there is no
 *     source, that of the bundle: files that a stage opens beside itself must be put beside it there.
 */
import { createHash } from 'node:crypto';
import { access, readFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  build,
  stop,
  transform,
  type BuildFailure,
  type Loader,
  type Message,
  type OnResolveArgs,
  type OnResolveResult,
  type PluginBuild,
} from 'esbuild';
import { PodlineError } from '../contracts/errors.js';
import { packageRoot } from '../platform/entries.js';
import { writeFileAtomically } from '../platform/files.js';
import { packageFile } from '../platform/package-file.js';

/** Raised when a change of the stage API changes what an unchanged stage computes. Checkpoints made under another one are not used. */
const stageApiVersion = '0.1';

const ownEntries: Record<string, string> = {
  podline: join(packageRoot, 'dist', 'runtime', 'index.js'),
  'podline/client': join(packageRoot, 'dist', 'runtime', 'api', 'client.js'),
};

export interface StageBundle {
  /** Name of the module within `outDir`: `<version>.mjs`. */
  module: string;
  /** sha256, hex: equal versions compute the same. */
  version: string;
}

export interface BundleOptions {
  /** Folder of the form for this machine. */
  outDir: string;
  /** Folder of the form for images: what is put at `/podline/pipelines/<pipeline>` there. Not written without it. */
  imageDir?: string | undefined;
}

/** Throws PDL_STAGE_LOAD with `file:line:column` for what cannot be built. */
export async function bundleStage(file: string, { outDir, imageDir }: BundleOptions): Promise<StageBundle> {
  const entry = resolve(file);
  await access(entry).catch((error: unknown) => {
    throw new PodlineError('PDL_STAGE_LOAD', `there is no stage file ${entry}`, { place: entry, cause: error });
  });
  const links = new Links(dirname(entry));
  const { code, map, bare } = await withBundler(() => bundle(entry, links));
  const version = createHash('sha256').update(`podline stage ${stageApiVersion}\n`).update(links.portable(bare)).digest('hex');
  const module = `${version}.mjs`;
  const inlineMap = `//# sourceMappingURL=data:application/json;base64,${Buffer.from(map).toString('base64')}\n`;
  await put(join(outDir, module), `${links.executable(code)}${inlineMap}`);
  if (imageDir !== undefined) await put(join(imageDir, module), `${links.inImage(code)}${inlineMap}`);
  return { module, version };
}

async function put(path: string, text: string): Promise<void> {
  if ((await readFile(path, 'utf8').catch(() => undefined)) !== text) await writeFileAtomically(path, text);
}

/** What stands in the place of a reference: `executable` on this machine, `portable` in the version, `image` in an image. */
interface Link {
  executable: string;
  portable: string;
  image: string;
}

/** What a bundle refers to outside itself. While esbuild works, each is a token between quotes. */
class Links {
  readonly #links = new Map<string, Link>();

  constructor(readonly root: string) {}

  add(kind: 'import' | 'file', link: Link): string {
    const token = `podline-${kind}:${createHash('sha256').update(Object.values(link).join('\0')).digest('hex').slice(0, 32)}`;
    this.#links.set(token, link);
    return token;
  }

  executable(code: string): string {
    return code.replaceAll(tokens, (token) => this.#links.get(token)?.executable ?? token);
  }

  portable(code: string): string {
    return code.replaceAll(tokens, (token) => this.#links.get(token)?.portable ?? token);
  }

  /** The place of a file is an expression there, known only when the bundle is loaded: it takes the place of the quotes too. */
  inImage(code: string): string {
    return code
      .replaceAll(quotedFiles, (_whole, _quote, token: string) => this.#links.get(token)?.image ?? token)
      .replaceAll(tokens, (token) => this.#links.get(token)?.image ?? token);
  }
}

const tokens = /podline-(?:import|file):[0-9a-f]{32}/g;
const quotedFiles = /(["'`])(podline-file:[0-9a-f]{32})\1/g;

/** @returns `bare`: the code without comments and layout. */
async function bundle(entry: string, links: Links): Promise<{ code: string; map: string; bare: string }> {
  const result = await build({
    entryPoints: [entry],
    absWorkingDir: links.root,
    outfile: join(links.root, 'stage.mjs'),
    write: false,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    charset: 'utf8',
    sourcemap: 'external',
    legalComments: 'none',
    logLevel: 'silent',
    loader: textLoaders,
    define: {
      'import.meta.url': '__podlineUrl',
      'import.meta.filename': '__podlineFilename',
      'import.meta.dirname': '__podlineDirname',
    },
    plugins: [{ name: 'podline', setup: (bundler) => setUp(bundler, links) }],
  }).catch((error: unknown) => {
    throw asPodlineError(error, entry, links.root);
  });
  const [map, code] = ['.map', '.mjs'].map(
    (ending) => result.outputFiles.find((output) => output.path.endsWith(ending))?.text ?? '',
  );
  const bare = await transform(code ?? '', { minifyWhitespace: true, legalComments: 'none', charset: 'utf8' });
  return { code: withRequire(code ?? ''), map: map ?? '', bare: bare.code };
}

const textLoaders: Record<string, Loader> = Object.fromEntries(
  ['.csv', '.tsv', '.txt', '.md', '.html', '.sql', '.ndjson', '.svg'].map((ending) => [ending, 'text']),
);

const unresolvedMark = Symbol('asked by ourselves');

function setUp(bundler: PluginBuild, links: Links): void {
  // A data file of a package becomes text in the bundle, and so a part of the stage's version. Its path stands in a comment there:
  // nothing of this machine.
  bundler.onResolve({ filter: /^npm:/ }, async ({ path, resolveDir }): Promise<OnResolveResult> => {
    const specifier = path.slice('npm:'.length);
    const file = await packageFile(specifier, [resolveDir, packageRoot]);
    if (file === undefined) return { errors: [{ text: `Could not resolve "${path}": no node_modules here or above holds it` }] };
    return { path: specifier, namespace: 'npm', pluginData: file };
  });
  bundler.onLoad({ filter: /.*/, namespace: 'npm' }, async ({ pluginData }) => ({
    contents: await readFile(pluginData as string),
    loader: 'text',
  }));
  bundler.onResolve({ filter: /.*/ }, async (args): Promise<OnResolveResult | undefined> => {
    if (args.kind === 'entry-point' || args.pluginData === unresolvedMark || /^[./#]|^file:|^data:/.test(args.path))
      return undefined;
    if (isBuiltin(args.path)) return { path: args.path, external: true };
    const own = ownEntries[args.path];
    if (own !== undefined)
      return {
        path: links.add('import', {
          executable: pathToFileURL(own).href,
          portable: `podline@${stageApiVersion}`,
          image: args.path,
        }),
        external: true,
      };
    return await linkPackage(bundler, args, links);
  });
  bundler.onLoad({ filter: /\.[cm]?[jt]sx?$/ }, async ({ path }) => {
    const source = await readFile(path, 'utf8');
    if (!source.includes('import.meta')) return undefined;
    return { contents: placed(source, path, links), loader: loaderOf(path), resolveDir: dirname(path) };
  });
}

/** A package that is installed stays an import; what is not in a node_modules (a workspace, an alias of tsconfig) is source, and bundled. */
async function linkPackage(bundler: PluginBuild, args: OnResolveArgs, links: Links): Promise<OnResolveResult | undefined> {
  const found = await bundler.resolve(args.path, {
    kind: args.kind,
    resolveDir: args.resolveDir,
    importer: args.importer,
    pluginData: unresolvedMark,
  });
  if (found.errors.length > 0) return { errors: found.errors.map((error) => ({ ...error, location: null })) };
  if (!found.path.split(sep).includes('node_modules')) return undefined;
  const version = await packageVersion(found.path);
  const executable =
    args.kind === 'require-call' || args.kind === 'require-resolve' ? found.path : pathToFileURL(found.path).href;
  const link = { executable, portable: `${args.path}@${version}`, image: args.path };
  return { path: links.add('import', link), external: true, sideEffects: found.sideEffects };
}

/** The version of the package that a file belongs to: of the nearest package.json that has one. */
async function packageVersion(file: string): Promise<string> {
  for (let folder = dirname(file); folder !== dirname(folder) && basename(folder) !== 'node_modules'; folder = dirname(folder)) {
    const text = await readFile(join(folder, 'package.json'), 'utf8').catch(() => undefined);
    const version = text === undefined ? undefined : (JSON.parse(text) as { version?: unknown }).version;
    if (typeof version === 'string') return version;
  }
  return 'unversioned';
}

/** The source with the place where it really lies, on its first line so that line numbers stay. */
function placed(source: string, path: string, links: Links): string {
  const constants = {
    __podlineUrl: pathToFileURL(path).href,
    __podlineFilename: path,
    __podlineDirname: dirname(path),
  };
  const declarations = Object.entries(constants)
    .filter(([name]) => source.includes(metaProperty[name] ?? ''))
    .map(([name, value]) => {
      const link = { executable: JSON.stringify(value).slice(1, -1), portable: 'source', image: metaProperty[name] ?? '' };
      return `const ${name} = ${JSON.stringify(links.add('file', link))};`;
    });
  return source.startsWith('#!') ? source.replace('\n', `\n${declarations.join(' ')}`) : `${declarations.join(' ')}${source}`;
}

const metaProperty: Record<string, string> = {
  __podlineUrl: 'import.meta.url',
  __podlineFilename: 'import.meta.filename',
  __podlineDirname: 'import.meta.dirname',
};

const loaderOf = (path: string): Loader =>
  /\.[cm]?ts$/.test(path) ? 'ts' : path.endsWith('.tsx') ? 'tsx' : path.endsWith('.jsx') ? 'jsx' : 'js';

/** CommonJS that was bundled asks for `require`, which an ES module has not. */
const withRequire = (code: string): string =>
  code.includes('__require')
    ? `import { createRequire as __podlineRequire } from 'node:module'; const require = __podlineRequire(import.meta.url);\n${code}`
    : code;

let users = 0;

/** esbuild works in a process of its own; it is ended when nobody bundles any more. */
async function withBundler<T>(use: () => Promise<T>): Promise<T> {
  users += 1;
  try {
    return await use();
  } finally {
    users -= 1;
    if (users === 0) await stop();
  }
}

function asPodlineError(error: unknown, entry: string, root: string): PodlineError {
  const failures = (error as Partial<BuildFailure>).errors ?? [];
  const first = failures[0];
  if (first === undefined) return PodlineError.from(error, 'PDL_STAGE_LOAD', { place: entry });
  const place = placeIn(first, root) ?? entry;
  const more = failures.slice(1).map((failure) => `\n  ${placeIn(failure, root) ?? entry} ${failure.text}`);
  return new PodlineError('PDL_STAGE_LOAD', `${place} ${first.text}${more.join('')}`, {
    place,
    hint: first.text.startsWith('Could not resolve')
      ? 'Install the package, or mend the path of the import.'
      : 'Mend the line that is named.',
    cause: error,
  });
}

/** esbuild counts columns from 0. */
const placeIn = ({ location }: Message, root: string): string | undefined =>
  location === null ? undefined : `${resolve(root, location.file)}:${location.line}:${location.column + 1}`;
