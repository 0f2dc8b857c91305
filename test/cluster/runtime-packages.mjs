/**
 * Prints the folders of node_modules that a line's containers need: what package.json depends on, without what only the
 * coordinator and the command line use, and what those packages depend on in turn.  usage: node runtime-packages.mjs ROOT
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const coordinatorOnly = new Set([
  '@fastify/swagger',
  '@kubernetes/client-node',
  'chokidar',
  'commander',
  'esbuild',
  'fastify',
  'fastify-type-provider-zod',
]);

const root = process.argv[2] ?? '.';
const read = (folder) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
const found = new Set();
const look = [...Object.keys(read(root).dependencies).filter((name) => !coordinatorOnly.has(name))];
for (let name = look.pop(); name !== undefined; name = look.pop()) {
  const folder = join(root, 'node_modules', name);
  if (found.has(name) || !existsSync(folder)) continue; // an optional package of another platform is not there
  found.add(name);
  const { dependencies = {}, optionalDependencies = {} } = read(folder);
  look.push(...Object.keys(dependencies), ...Object.keys(optionalDependencies));
}
for (const name of [...found].sort()) console.log(join('node_modules', name));
