/** What a run did, summed over its shards: the one object of `--json`, and the closing words for people. */
import { createHash } from 'node:crypto';
import { addBytes, noBytes, type BytesByMedium, type Medium } from '../contracts/block.js';
import type { ResultFile, Shard, StageReport } from '../contracts/shard.js';
import { formatBytes, formatCount, formatDuration } from '../config/units.js';
import { fromHere } from './hints.js';
import type { RunSnapshot } from './snapshot.js';
import { alignTable } from './table.js';

export interface StageSummary {
  stage: string;
  runs: number;
  rows: number;
  blocks: number;
  restored: number;
  skipped: number;
  bytes: BytesByMedium;
  workMs: number;
  swapMs: number;
  handoverMs: { p50: number; max: number };
}

export interface RunSummary {
  pipeline: string;
  workDir: string;
  /** How the scratch was read: in place, or copied. */
  reads: 'mmap' | 'pread';
  elapsedMs: number;
  /** Ctrl-C: shards that are pending are gone on with by `--resume`. */
  interrupted: boolean;
  shards: RunSnapshot['counts'];
  /** sha256 over the hashes of the completed shards' results, in the order of their keys. */
  hash: string;
  swaps: number;
  sourceReads: number;
  bytes: BytesByMedium;
  stages: StageSummary[];
  results: { key: string; shardId: string; dir: string; hash: string; resumedFrom: string; files: ResultFile[] }[];
  failures: { key: string; shardId: string; code: string; message: string; hint: string }[];
}

/** Results and failures that are listed one by one; the sums cover all. */
const listedMax = 1_000;

export class SummaryBuilder {
  readonly #stages = new Map<string, StageSummary & { handovers: number[] }>();
  readonly #bytes = noBytes();
  readonly #hashes: [string, string][] = [];
  readonly #results: RunSummary['results'] = [];
  readonly #failures: RunSummary['failures'] = [];
  #swaps = 0;
  #sourceReads = 0;

  add(shard: Shard): void {
    if (shard.error !== undefined && shard.state !== 'completed' && this.#failures.length < listedMax) {
      const { code, message, hint } = shard.error;
      this.#failures.push({ key: shard.key, shardId: shard.id, code, message, hint });
    }
    if (shard.result !== undefined) {
      this.#hashes.push([shard.key, shard.result.hash]);
      if (this.#results.length < listedMax) {
        this.#results.push({
          key: shard.key,
          shardId: shard.id,
          dir: shard.result.dir,
          hash: shard.result.hash,
          resumedFrom: shard.report?.resumedFrom ?? 'source',
          files: shard.result.files,
        });
      }
    }
    if (shard.report === undefined) return;
    addBytes(this.#bytes, shard.report.bytes);
    this.#swaps += shard.report.swaps;
    this.#sourceReads += shard.report.load.sourceReads;
    for (const stage of shard.report.stages) this.#addStage(stage);
  }

  build(of: {
    pipeline: string;
    workDir: string;
    reads: RunSummary['reads'];
    elapsedMs: number;
    interrupted: boolean;
    counts: RunSnapshot['counts'];
  }): RunSummary {
    const hash = createHash('sha256');
    for (const [key, shardHash] of this.#hashes.sort(([a], [b]) => (a < b ? -1 : 1))) hash.update(`${key} ${shardHash}\n`);
    return {
      pipeline: of.pipeline,
      workDir: of.workDir,
      reads: of.reads,
      elapsedMs: of.elapsedMs,
      interrupted: of.interrupted,
      shards: of.counts,
      hash: hash.digest('hex'),
      swaps: this.#swaps,
      sourceReads: this.#sourceReads,
      bytes: this.#bytes,
      stages: [...this.#stages.values()].map(({ handovers, ...stage }) => {
        const sorted = handovers.sort((a, b) => a - b);
        return { ...stage, handoverMs: { p50: sorted[Math.floor(sorted.length / 2)] ?? 0, max: sorted.at(-1) ?? 0 } };
      }),
      results: this.#results,
      failures: this.#failures,
    };
  }

  #addStage(report: StageReport): void {
    let sum = this.#stages.get(report.stage);
    if (sum === undefined) {
      sum = {
        stage: report.stage,
        runs: 0,
        rows: 0,
        blocks: 0,
        restored: 0,
        skipped: 0,
        bytes: noBytes(),
        workMs: 0,
        swapMs: 0,
        handoverMs: { p50: 0, max: 0 },
        handovers: [],
      };
      this.#stages.set(report.stage, sum);
    }
    sum.runs += report.runs;
    sum.rows += report.rows;
    sum.blocks += report.blocks;
    sum.restored += report.outcome === 'restored' ? 1 : 0;
    sum.skipped += report.outcome === 'skipped' ? 1 : 0;
    sum.workMs += report.workMs;
    sum.swapMs += report.swapMs;
    addBytes(sum.bytes, report.bytes);
    if (report.runs > 0) sum.handovers.push(report.handoverMs);
  }
}

const mediumWords: Record<Medium, string> = { memory: 'memory', ssd: 'SSD', volume: 'volume', network: 'network' };

/** Results and failures that the closing words name. */
const namedMax = 5;

/** The closing words of `run`. */
export function describeSummary(summary: RunSummary): string {
  const { shards, swaps, sourceReads } = summary;
  const ended = [
    `${formatCount(shards.completed)} completed`,
    ...(shards.failed > 0 ? [`${formatCount(shards.failed)} failed`] : []),
    ...(shards.cancelled > 0 ? [`${formatCount(shards.cancelled)} cancelled`] : []),
  ];
  return [
    `${summary.pipeline}: ${ended.join(', ')} in ${formatDuration(summary.elapsedMs)}, ${times(swaps, 'swap')}, source read ${times(sourceReads, 'time')}`,
    '',
    ...stageTable(summary.stages),
    '',
    'Bytes moved, by medium:',
    ...alignTable([
      ['', 'read', 'written'],
      ...(Object.keys(mediumWords) as Medium[]).map((medium) => {
        const { read, written } = summary.bytes[medium];
        return [mediumWords[medium], formatBytes(read), formatBytes(written)];
      }),
    ]),
    '',
    ...summary.results.slice(0, namedMax).flatMap(describeResult),
    ...(shards.completed > namedMax ? [`        … and ${formatCount(shards.completed - namedMax)} more`] : []),
    ...summary.failures
      .slice(0, namedMax)
      .map((failure) => `Failed  ${failure.key}: ${failure.code} ${failure.message}\n        ${failure.hint}`),
    ...(summary.failures.length > namedMax
      ? [`        … and ${formatCount(summary.failures.length - namedMax)} more failed`]
      : []),
    `Hash    ${summary.hash}`,
  ].join('\n');
}

const times = (count: number, one: string): string => `${formatCount(count)} ${one}${count === 1 ? '' : 's'}`;

/** What did not happen in any stage has no column. */
function stageTable(stages: readonly StageSummary[]): string[] {
  const restored = stages.some((stage) => stage.restored + stage.skipped > 0);
  const head = [
    'stage',
    'runs',
    ...(restored ? ['restored', 'not needed'] : []),
    'rows',
    'read',
    'written',
    'work',
    'swap',
    'hand-over',
  ];
  const rows = stages.map((stage) => [
    stage.stage,
    formatCount(stage.runs),
    ...(restored ? [formatCount(stage.restored), formatCount(stage.skipped)] : []),
    // Bytes and files have none.
    stage.rows > 0 ? formatCount(stage.rows) : '–',
    formatBytes(stage.bytes.memory.read),
    formatBytes(stage.bytes.memory.written),
    stage.runs > 0 ? formatDuration(stage.workMs) : '–',
    stage.swapMs > 0 ? formatDuration(stage.swapMs) : '–',
    stage.runs > 0 ? formatDuration(stage.handoverMs.p50) : '–',
  ]);
  return alignTable([head, ...rows]);
}

function describeResult({ dir, files }: RunSummary['results'][number]): string[] {
  const shown = files.slice(0, namedMax).map(({ name, bytes, rows }) => {
    const amount = rows === undefined ? formatBytes(bytes) : `${formatBytes(bytes)}, ${times(rows, 'row')}`;
    return `${name} (${amount})`;
  });
  const more = files.length > namedMax ? [`${String(files.length - namedMax)} more`] : [];
  return [`Result  ${fromHere(dir)}`, `        ${[...shown, ...more].join('; ')}`];
}
