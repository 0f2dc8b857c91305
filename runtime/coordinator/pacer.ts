/**
 * The pace of a pipeline's submitters: looks when somebody asks, at most once in `scaleLookMs`, and remembers what it answered, because
 * batches grow and shrink from one look to the next.
 */
import type { Amounts, Capacity } from '../contracts/capacity.js';
import { limits } from '../contracts/limits.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { LineView } from '../contracts/views.js';
import type { Journal } from '../journal/journal.js';
import { loadOf } from '../line/flow.js';
import { initialPace, planPace, type Pace, type PaceRules } from '../line/pace.js';
import { parseAmount } from '../line/quantity.js';
import { initialThroughput, observeThroughput, type Throughput } from '../line/throughput.js';
import type { Clock } from '../platform/clock.js';
import { ownQuota, shardsPerLineOf } from './scaling-rules.js';

export interface PacerParts {
  journal: Pick<Journal, 'counts'>;
  clock: Clock;
  capacity: Capacity;
  cores: number;
  pendingShardsMax: number;
  linesOf: (pipeline: string) => LineView[];
}

interface Seen {
  atMs: number;
  throughput: Throughput;
  pace: Pace;
}

export class Pacer {
  readonly #seen = new Map<string, Seen>();

  constructor(private readonly parts: PacerParts) {}

  async look(pipeline: Pipeline): Promise<Pace> {
    const { journal, clock, capacity } = this.parts;
    const before = this.#seen.get(pipeline.name);
    const nowMs = clock.nowMs();
    if (before !== undefined && nowMs - before.atMs < limits.scaleLookMs) return before.pace;
    const { pending, completed, failed, cancelled } = await journal.counts(pipeline.name);
    const ended = completed + failed + cancelled;
    const throughput =
      before === undefined ? initialThroughput(ended, nowMs) : observeThroughput(before.throughput, ended, nowMs);
    const lines = this.parts.linesOf(pipeline.name);
    const rules = this.#rulesOf(pipeline, lines.filter(({ state }) => state === 'active').length);
    const own = ownQuota(pipeline);
    const shared = capacity.quotas(capacity.scopeOf?.(pipeline.name));
    const load = loadOf(usedBy(lines), own === undefined ? shared : [...shared, own]);
    const input = { queued: pending, drainPerSecond: throughput.perSecond, ...load };
    const pace = planPace(before?.pace ?? initialPace(rules), input, rules);
    this.#seen.set(pipeline.name, { atMs: nowMs, throughput, pace });
    return pace;
  }

  #rulesOf(pipeline: Pipeline, lines: number): PaceRules {
    const { queue } = pipeline.spec;
    const full = queue.max ?? this.parts.pendingShardsMax;
    const deep = Math.min(queue.deep ?? Math.max(1, Math.floor(full / 2)), full);
    const shallow = Math.min(queue.shallow ?? 2 * Math.max(1, lines) * shardsPerLineOf(pipeline, this.parts.cores), deep);
    return { batchMin: limits.paceBatchMin, batchMax: limits.paceBatchMax, shallow, deep, full };
  }
}

function usedBy(lines: readonly LineView[]): Amounts {
  const told = lines.flatMap(({ usage }) => (usage === undefined ? [] : [usage]));
  if (told.length === 0) return {};
  const cpu = told.reduce((sum, usage) => sum + usage.cpu, 0);
  const memoryBytes = told.reduce((sum, usage) => sum + usage.memoryBytes, 0);
  return { cpu: parseAmount(cpu.toFixed(3)), memory: parseAmount(memoryBytes.toFixed(0)) };
}
