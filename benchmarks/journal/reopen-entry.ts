/** Opens a journal in a fresh process and leases once from it: argv is its folder. Prints what that took, as JSON. */
import { openLmdbJournal } from '../../runtime/journal/lmdb/lmdb-journal.js';
import { now, query } from './work.js';

const beganMs = performance.now();
const journal = openLmdbJournal({ dir: process.argv[2] ?? '' });
await journal.pipelines();
await journal.running();
const reopenMs = performance.now() - beganMs;
const { leases } = await journal.lease(query('line-0'), now());
const firstLeaseMs = performance.now() - beganMs;
if (leases.length !== 1) throw new Error('nothing was leased');
console.log(JSON.stringify({ reopenMs, firstLeaseMs, rssBytes: process.memoryUsage.rss() }));
await journal.close();
