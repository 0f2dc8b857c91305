// Works on a journal as fast as it can, and prints a line for each thing that was acknowledged to it. Ended by SIGKILL only.
// argv: the built package's root, the journal's folder, a word that makes its keys its own.
import { pathToFileURL } from 'node:url';
import { writeSync } from 'node:fs';
import { join } from 'node:path';

const [root, dir, word] = process.argv.slice(2);
const { openLmdbJournal } = await import(pathToFileURL(join(root, 'dist/runtime/journal/lmdb/lmdb-journal.js')).href);
// Settles often, so that kills find that at work too.
const journal = openLmdbJournal({ dir, settleAtBytes: 8_192 });
const startMs = await journal.clockMs();
const now = () => ({ ms: startMs + performance.now(), at: new Date().toISOString() });
const say = (...words) => writeSync(1, `${words.join(' ')}\n`);

const stage = { name: 'clean', after: ['input'], version: 'v' };
const rules = {
  retries: { limit: 1_000, backoff: { initialMs: 1, factor: 1, maxMs: 1 } },
  timeLimits: {},
  pendingMax: 1e6,
  lostLeasesMax: 1_000,
};
await journal.applyPipeline({ name: 'flights', revision: 0, spec: {}, stages: [stage], baseDir: '/' }, rules, now());
await journal.expire(await journal.running(), 'the writer before was killed', now());

const none = { read: 0, written: 0 };
const bytes = { memory: none, ssd: none, volume: none, network: none };
const report = {
  stages: [],
  load: { outcome: 'read', rows: 0, ms: 0, sourceReads: 1, bytes },
  checkpoints: { ssd: 0, major: 0, bytes },
  resumedFrom: 'source',
  bytes,
  swaps: 0,
  scratchPeakBytes: 0,
};
say('ready');

async function work(number) {
  const line = `line-${number}`;
  for (let count = 0; ; count += 1) {
    const key = `${word}-${number}-${count}`;
    const [{ id }] = await journal.submit(
      'flights',
      [{ key, source: { uri: '/x', format: 'bytes' }, parameters: {}, resultDir: '/r', priority: 5, group: 'default' }],
      now(),
    );
    say('submitted', key, id);
    const { leases } = await journal.lease(
      { pipeline: 'flights', line, group: 'default', instance: word, max: 2, freshMax: 2, prefer: [], reclaim: [] },
      now(),
    );
    for (const { shardId, epoch } of leases) {
      say('leased', shardId, epoch);
      // Some are left running, some given back, so that kills find every state.
      if (count % 7 === 3) continue;
      if (count % 5 === 2)
        await journal.fail(
          line,
          { shardId, epoch },
          { error: { code: 'PDL_STAGE_FAILED', message: 'no', hint: '', retry: 'later' }, counts: false },
          now(),
        );
      else {
        await journal.complete(line, { shardId, epoch, result: { dir: '/r', files: [], hash: '' }, report }, now());
        say('completed', shardId, epoch);
      }
    }
  }
}
await Promise.all(Array.from({ length: 16 }, (_, number) => work(number)));
