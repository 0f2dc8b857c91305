import { it } from 'vitest';
import { mkdtempSync } from 'node:fs';
import { openLmdbJournal } from '../../../runtime/journal/lmdb/lmdb-journal.js';
import { pipelineOf, shardOf } from '../../support/journal.js';
const rules={retries:{limit:0,backoff:{initialMs:1,factor:1,maxMs:1}},timeLimits:{},pendingMax:1e6,lostLeasesMax:1};
const n={ms:0,at:'2026-01-01T00:00:00.000Z'};
const log=(x:unknown)=>process.stderr.write(JSON.stringify(x)+' ');
it('x', async () => {
  const j = openLmdbJournal({dir: mkdtempSync('/tmp/builderj/v')});
  await j.applyPipeline(pipelineOf(), rules, n);
  log('a');
  log((await j.applyPipeline(pipelineOf(), rules, n)).changed);
  log((await j.applyPipeline(pipelineOf('flights',{description:'o'}), rules, n)).changed);
  log((await j.events(0,10)).length);
  await j.close(); log('closed');
}, 5000);
it('y', async () => {
  const j = openLmdbJournal({dir: mkdtempSync('/tmp/builderj/v')});
  await j.applyPipeline(pipelineOf(), rules, n);
  log('a');
  log((await j.submit('flights',[shardOf('a')],n)).length);
  log((await j.setPaused('flights',true, n)).changed);
  log((await j.setPaused('flights',true, n)).changed);
  log((await j.lease({ pipeline: 'flights', line: 'line-0', instance: 'a', max: 1, freshMax: 256, prefer: [], reclaim: []},n)));
  log((await j.setPaused('flights',false, n)).changed);
  log((await j.lease({ pipeline: 'flights', line: 'line-0', instance: 'a', max: 1, freshMax: 256, prefer: [], reclaim: []},n)));
  await j.close(); log('closed');
}, 5000);
