/** Whether the journal's figures hold. Pure. */
import type { Goal } from '../goals.js';
import type { BenchResults } from '../results.js';
import { quantile } from '../statistics.js';
import type { CycleRate } from './figures.js';

const median = (values: readonly number[]): number => quantile(values, 0.5);
const rates = (found: readonly CycleRate[]): number[] => found.map(({ cyclesPerSecond }) => cyclesPerSecond);
const goal = (figure: string, wanted: string, reached: string, holds: boolean | undefined): Goal => ({
  figure,
  wanted,
  reached,
  holds,
});

export function journalGoals({ journal }: BenchResults): Goal[] {
  const names = [
    ['journal: durable claim + complete, 64 at once: Podline ÷ BullMQ on Redis, appendfsync always', '≥ 5×, p99 ≤ 10 ms'],
    ['journal: one durable claim at a time: share of append + fdatasync', '≥ 50 %'],
    ['journal: shards submitted durably, a second', '≥ 100,000'],
    ['journal: one million shards: reopen / RSS / first lease', '≤ 2 s / ≤ 256 MiB / ≤ 2 s'],
    ['journal: one lease, one million waiting ÷ one thousand waiting, CPU', '≤ 1.5'],
  ] as const;
  if (journal === undefined) return names.map(([figure, wanted]) => goal(figure, wanted, 'not measured in this run', undefined));
  const { podline, bullmq, single, submit, large, growth } = journal;
  const [cycles, one, many, million, grown] = names;
  const ownRate = median(rates(podline));
  const ratio = ownRate / median(rates(bullmq));
  const p99Ms = median(podline.map((rate) => rate.p99Ms));
  const share = median(single.appendMs) / median(single.claimMs);
  const perSecond = median(submit.perSecond);
  const [first, last] = [growth[0], growth.at(-1)];
  const more = (last?.leaseCpuUs ?? Number.NaN) / (first?.leaseCpuUs ?? Number.NaN);
  const whole = (value: number): string => Math.round(value).toLocaleString('en-US');
  return [
    goal(
      cycles[0],
      cycles[1],
      bullmq.length === 0
        ? `${whole(ownRate)} a second, p99 ${p99Ms.toFixed(1)} ms; ${journal.bullmqMissing ?? 'nobody to compare with'}`
        : `${ratio.toFixed(1)}× (${whole(ownRate)} a second, p99 ${p99Ms.toFixed(1)} ms)`,
      bullmq.length === 0 ? undefined : ratio >= 5 && p99Ms <= 10,
    ),
    goal(one[0], one[1], `${(share * 100).toFixed(0)} % (${median(single.claimMs).toFixed(2)} ms)`, share >= 0.5),
    goal(many[0], many[1], whole(perSecond), perSecond >= 100_000),
    goal(
      million[0],
      million[1],
      `${(large.reopenMs / 1_000).toFixed(2)} s / ${(large.rssBytes / 2 ** 20).toFixed(0)} MiB / ${(large.firstLeaseMs / 1_000).toFixed(2)} s (${whole(large.shards)})`,
      large.shards < 1_000_000
        ? undefined
        : large.reopenMs <= 2_000 && large.firstLeaseMs <= 2_000 && large.rssBytes <= 256 * 2 ** 20,
    ),
    goal(grown[0], grown[1], `${more.toFixed(2)} (${whole(first?.waiting ?? 0)} – ${whole(last?.waiting ?? 0)})`, more <= 1.5),
  ];
}
