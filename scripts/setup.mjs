/**
 * Makes a checkout ready to run: installs the locked packages when they are not there, and builds when a source
 * has changed since the last build. `npm start` and `npm test` call it first, so that a fresh clone needs Node only.
 *
 *  1. Only `node:` modules are imported: there may be no node_modules yet.
 *  2. Nothing is compiled but TypeScript: native packages come prebuilt, so install scripts are not run.
 *  3. When all is in place it changes nothing and takes a tenth of a second.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const sourceFolders = ['runtime', 'sidecars', 'benchmarks'];
const stamp = join(root, 'dist', '.built');

requireNode(20, 19);
if (!isInstalled()) install();
const wanted = sourceDigest();
if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== wanted) build(wanted);

function requireNode(major, minor) {
  const [hasMajor = 0, hasMinor = 0] = process.versions.node.split('.').map(Number);
  if (hasMajor > major || (hasMajor === major && hasMinor >= minor)) return;
  fail(`Podline needs Node ${major}.${minor} or newer; this is ${process.versions.node}.`);
}

/** Whether every package that the lock file demands on all machines lies in node_modules in its locked version. */
function isInstalled() {
  const installed = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(installed)) return false;
  const has = JSON.parse(readFileSync(installed, 'utf8')).packages;
  const locked = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(locked).every(
    ([path, entry]) => path === '' || entry.optional || entry.devOptional || entry.peer || has[path]?.version === entry.version,
  );
}

/**
 * `npm install --no-save` rather than `npm ci`: it takes the locked versions too and leaves the lock file alone, but it does not refuse
 * a lock file in which the prebuilt packages of other platforms are missing, as they are where a registry does not carry them.
 */
function install() {
  console.error('podline: installing packages (npm install)');
  const npm = process.env.npm_execpath;
  const args = ['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const run = npm?.endsWith('.js') ? [process.execPath, [npm, ...args]] : ['npm', args];
  const { status, error } = spawnSync(run[0], run[1], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
  if (status !== 0) fail(`npm install failed${error ? `: ${error.message}` : ''}. Check the network and try again.`);
}

function sourceDigest() {
  const hash = createHash('sha256');
  const files = ['tsconfig.json', ...sourceFolders.flatMap((folder) => filesUnder(folder, '.ts'))].sort();
  for (const file of files)
    hash
      .update(file)
      .update('\0')
      .update(readFileSync(join(root, file)))
      .update('\0');
  return hash.digest('hex');
}

function build(digest) {
  console.error('podline: building (tsc)');
  removeOrphans();
  const { status } = spawnSync(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', root], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) fail('the build failed: see above.');
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, digest);
}

/** Built files whose source is gone would still be found by whoever imports or runs them. */
function removeOrphans() {
  for (const folder of sourceFolders) {
    for (const declaration of filesUnder(join('dist', folder), '.d.ts')) {
      const stem = declaration.slice(0, -'.d.ts'.length);
      if (existsSync(join(root, `${stem.slice('dist/'.length)}.ts`))) continue;
      for (const ending of ['.d.ts', '.js', '.js.map']) rmSync(join(root, stem + ending), { force: true });
    }
  }
}

function filesUnder(folder, ending) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((found) => found.isFile() && found.name.endsWith(ending))
    .map((found) =>
      join(found.parentPath, found.name)
        .slice(root.length + 1)
        .replaceAll('\\', '/'),
    );
}

function fail(message) {
  console.error(`podline: ${message}`);
  process.exit(1);
}
