// Submits as fast as it can and prints the keys that were accepted, a line each; then ends as it is told to.
// argv: the built package's root, the journal's folder, bytes after which the log is settled, how it ends, groups before that.
import { pathToFileURL } from 'node:url';
import { writeSync } from 'node:fs';
import { join } from 'node:path';

const [root, dir, settleAtBytes, how, groups] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(join(root, 'dist/runtime', path)).href);
const { openLmdbJournal } = await load('journal/lmdb/lmdb-journal.js');
const { endProcess } = await load('platform/uninterrupted.js');
const journal = openLmdbJournal({ dir, settleAtBytes: Number(settleAtBytes) });
const startMs = await journal.clockMs();
const now = () => ({ ms: startMs + performance.now(), at: new Date().toISOString() });
const rules = {
  retries: { limit: 1, backoff: { initialMs: 1, factor: 1, maxMs: 1 } },
  timeLimits: {},
  pendingMax: 1e6,
  lostLeasesMax: 1,
};
const stage = { name: 'clean', after: ['input'], version: 'v' };
await journal.applyPipeline({ name: 'flights', revision: 0, spec: {}, stages: [stage], baseDir: '/' }, rules, now());
const ends = {
  exit: () => process.exit(3),
  end: () => endProcess(3),
  throw: () => {
    throw new Error('nobody catches this');
  },
};
let group = 0;
async function submitGroup() {
  group += 1;
  const shards = Array.from({ length: 100 }, (_, index) => ({
    key: `${process.pid}-${group}-${index}`,
    source: { uri: '/x', format: 'bytes' },
    parameters: {},
    resultDir: '/r',
    priority: 5,
    group: 'default',
  }));
  await journal.submit('flights', shards, now());
  writeSync(1, shards.map(({ key }) => `${key}\n`).join(''));
}
try {
  while (group < Number(groups)) await submitGroup();
  // Not within a promise: an error is to be one that nobody catches.
  setImmediate(ends[how]);
} catch (thrown) {
  writeSync(2, `${thrown.code} ${thrown.message}\n`);
  await journal.close();
  process.exitCode = 4;
}
