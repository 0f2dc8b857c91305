/**
 * Puts what the log says into LMDB: the last word on each thing, of all groups of a file, in one transaction. The same for a
 * file that was just filled and for those that a process left behind when it died.
 */
import { PodlineError } from '../../contracts/errors.js';
import type { PipelineRecord } from '../journal.js';
import type { CountsRecord } from '../tables.js';
import { Disk } from './disk.js';
import type { Environment } from './environment.js';
import { decodeGroup, type LoggedGroup, type LoggedShard, type LoggedState } from './log-record.js';
import { damaged, readLog } from './log.js';

export interface WholeFile {
  path: string;
  /** Of the writer that filled it. */
  term: number;
  /** Of its last record. */
  commit: number;
}

/** Throws PDL_JOURNAL when it does not hold all that was logged. Nothing is written when there is a newer term: its writer has read the file. */
export function settleFile(environment: Environment, { path, term, commit }: WholeFile): void {
  environment.transact(() => {
    if (environment.numbers().term !== term) return;
    settle(environment, [path]);
    const { commits } = environment.numbers();
    if (commits < commit) throw damaged(path, commits + 1);
  });
}

/** What writers of older terms have logged; when it returns, LMDB has it, and what they log from here on is passed over. */
export function settleLeft(environment: Environment, files: readonly string[]): void {
  environment.transact(() => {
    settle(environment, files);
    const numbers = environment.numbers();
    environment.stores.meta.putSync('numbers', { ...numbers, commits: numbers.commits + 1 });
  });
}

/** Inside of a transaction: all groups of the files that LMDB has not, in their order. */
function settle(environment: Environment, files: readonly string[]): void {
  const settled = environment.numbers();
  const records = files.map((file) => [...readLog(file)].filter(({ commit }) => commit > settled.commits));
  records.sort(([a], [b]) => (a?.commit ?? 0) - (b?.commit ?? 0));
  const groups: LoggedGroup[] = [];
  for (const { commit, payload } of records.flat()) {
    const expected = settled.commits + groups.length + 1;
    if (commit !== expected) throw damaged(environment.dir, expected);
    const group = decodeGroup(payload);
    if (group.numbers.commits !== commit)
      throw new PodlineError('PDL_JOURNAL', `group ${String(commit)} of the log calls itself ${String(group.numbers.commits)}`);
    groups.push(group);
  }
  const last = groups.at(-1);
  if (last === undefined) return;
  settleGroups(new Disk(environment.stores, settled), groups);
  environment.stores.meta.putSync('numbers', { ...last.numbers, term: settled.term });
}

function settleGroups(disk: Disk, groups: readonly LoggedGroup[]): void {
  const added = new Map<number, LoggedShard>();
  const states = new Map<number, LoggedState>();
  const outcomes = new Map<number, string>();
  const removed: number[] = [];
  const gone = new Set<string>();
  const pipelines = new Map<string, PipelineRecord>();
  const counts = new Map<string, CountsRecord>();
  for (const group of groups) {
    for (const name of group.gone) {
      gone.add(name);
      pipelines.delete(name);
      counts.delete(name);
    }
    for (const record of group.pipelines) pipelines.set(record.pipeline.name, record);
    for (const [pipeline, record] of group.counts) counts.set(pipeline, record);
    for (const seq of group.removed) {
      outcomes.delete(seq);
      states.delete(seq);
      // What came and went meanwhile was never on disk.
      if (!added.delete(seq)) removed.push(seq);
    }
    for (const shard of group.added) added.set(shard.seq, shard);
    for (const state of group.states) {
      const before = states.get(state.seq);
      states.set(state.seq, before === undefined ? state : { ...state, was: before.was });
    }
    for (const { seq, value } of group.outcomes) outcomes.set(seq, value);
  }
  for (const seq of removed) disk.remove(seq);
  for (const name of gone) disk.removePipeline(name);
  for (const record of pipelines.values()) disk.putPipeline(record);
  for (const shard of added.values()) disk.add(shard);
  // In the order of their keys: neighbours share pages, which are looked for once.
  for (const state of [...states.values()].sort((a, b) => a.seq - b.seq)) disk.change(state);
  for (const [seq, value] of [...outcomes].sort(([a], [b]) => a - b)) disk.putOutcome(seq, value);
  for (const { events } of groups) for (const { firstId, value } of events) disk.putEvents(firstId, value);
  const eventsFrom = groups.reduce((from, group) => Math.max(from, group.eventsFrom), 0);
  if (eventsFrom > 0) disk.dropEvents(eventsFrom);
  for (const [pipeline, record] of counts) disk.putCounts(pipeline, record);
}
