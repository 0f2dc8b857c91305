/**
 * What goes into the runtime image, once for all who make it: images/Dockerfile copies it into place, and test/cluster/image.sh makes the same
 * image without a daemon.
 *
 * usage: node scripts/image-contents.mjs layers     one line a layer, lowest first: SOURCE:TARGET SOURCE:TARGET …
 *        node scripts/image-contents.mjs config     the options of mkimage.py
 *        node scripts/image-contents.mjs copy DIR   copies all of it below DIR
 */
import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');

/** How its containers start, where a pod does not say otherwise. */
export const imageConfig = {
  entrypoint: ['node', '/podline/dist/runtime/cli/main.js'],
  env: { NODE_ENV: 'production' },
  user: '10001:10001',
  workdir: '/podline',
};

/**
 * Source, relative to the repository, and target of each, by layers; what changes least is lowest.
 * @returns {[source: string, target: string][][]}
 */
export function imageLayers(from = root) {
  return [
    packagesOf(from).map((folder) => [folder, `/podline/${folder}`]),
    [['native/prebuilds', '/podline/native/prebuilds']],
    [['bin/podline-shim', '/podline/bin/podline-shim']],
    [
      ['package.json', '/podline/package.json'],
      ['LICENSE', '/podline/LICENSE'],
      ['dist/runtime', '/podline/dist/runtime'],
      ['dist/sidecars', '/podline/dist/sidecars'],
    ],
  ];
}

/**
 * Folders of node_modules that package.json depends on, and what those depend on in turn.
 * @param {string} from
 * @returns {string[]}
 */
function packagesOf(from) {
  const read = (folder) => JSON.parse(readFileSync(join(from, folder, 'package.json'), 'utf8'));
  const found = new Set();
  const look = Object.keys(read('.').dependencies);
  for (let name = look.pop(); name !== undefined; name = look.pop()) {
    const folder = join('node_modules', name);
    if (found.has(folder) || !existsSync(join(from, folder))) continue; // an optional package of another platform is not there
    found.add(folder);
    const { dependencies = {}, optionalDependencies = {} } = read(folder);
    look.push(...Object.keys(dependencies), ...Object.keys(optionalDependencies));
  }
  return [...found].sort();
}

function copy(to) {
  for (const [source, target] of imageLayers().flat()) {
    mkdirSync(dirname(join(to, target)), { recursive: true });
    cpSync(join(root, source), join(to, target), { recursive: true, verbatimSymlinks: true });
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [command, to = ''] = process.argv.slice(2);
  const { entrypoint, env, user, workdir } = imageConfig;
  if (command === 'layers')
    for (const layer of imageLayers()) console.log(layer.map(([source, target]) => `${join(root, source)}:${target}`).join(' '));
  else if (command === 'config')
    console.log(
      ['--entrypoint', JSON.stringify(entrypoint), '--user', user, '--workdir', workdir]
        .concat(Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`]))
        .join('\n'),
    );
  else if (command === 'copy' && to !== '') copy(to);
  else process.exitCode = 2;
}
