/** Whether the journal's figures hold. Pure. */
import type { Goal } from '../goals.js';
import type { BenchResults } from '../results.js';
import { quantile } from '../statistics.js';
import type { CycleRate, JournalFigures } from './figures.js';

const median = (values: readonly number[]): number => quantile(values, 0.5);
const rates = (found: readonly CycleRate[]): number[] => found.map(({ cyclesPerSecond }) => cyclesPerSecond);
const whole = (value: number): string => Math.round(value).toLocaleString('en-US');
const goal = (figure: string, wanted: string, reached: string, holds: boolean | undefined): Goal => ({
  figure,
  wanted,
  reached,
  holds,
});

export function journalGoals({ journal }: BenchResults): Goal[] {
  const names = [
    [
      'journal: durable claim + complete in one call, 64 at once: Podline ÷ BullMQ on Redis, appendfsync always',
      '≥ 5×, p99 ≤ 10 ms',
    ],
    ['journal: one durable claim at a time: share of append + fdatasync', '≥ 50 %'],
    ['journal: shards submitted durably by NDJSON over HTTP, a second', '≥ 100,000, memory bounded'],
    ['journal: claim + complete through HTTP, 64 lines, a second', '≥ 5,000, p99 ≤ 25 ms at half of it'],
    ['journal: one million shards: reopen / RSS / first lease', '≤ 2 s / ≤ 256 MiB / ≤ 2 s'],
    ['journal: one lease, one million waiting ÷ one thousand waiting, CPU', '≤ 1.5'],
  ] as const;
  if (journal === undefined) return names.map(([figure, wanted]) => goal(figure, wanted, 'not measured in this run', undefined));
  const { podline, bullmq, chained = { podline: [], bullmq: [] }, single, submit, http, ndjson, large, growth } = journal;
  const [cycles, one, many, through, million, grown] = names;
  const share = median(single.appendMs) / median(single.claimMs);
  const [first, last] = [growth[0], growth.at(-1)];
  const more = (last?.leaseCpuUs ?? Number.NaN) / (first?.leaseCpuUs ?? Number.NaN);
  return [
    inOneCall(cycles, chained, { podline, bullmq }, journal.bullmqMissing),
    goal(one[0], one[1], `${(share * 100).toFixed(0)} % (${median(single.claimMs).toFixed(2)} ms)`, share >= 0.5),
    ...(ndjson === undefined ? [goal(many[0], many[1], 'not in this record', undefined)] : [streamed(many, ndjson, submit)]),
    ...(http === undefined ? [goal(through[0], through[1], 'not in this record', undefined)] : [overHttp(through, http)]),
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

type Named = readonly [figure: string, wanted: string];

type Rates = NonNullable<JournalFigures['chained']>;

/** Judged in the form that lines and workers use; the other one, two calls each, is told beside it. */
function inOneCall([figure, wanted]: Named, chained: Rates, apart: Rates, missing: string | undefined): Goal {
  const { podline, bullmq } = chained;
  if (podline.length === 0) return goal(figure, wanted, 'not in this record', undefined);
  const own = median(rates(podline));
  const p99Ms = median(podline.map((rate) => rate.p99Ms));
  const words = `${whole(own)} a second, p99 ${p99Ms.toFixed(1)} ms`;
  if (bullmq.length === 0) return goal(figure, wanted, `${words}; ${missing ?? 'nobody to compare with'}`, undefined);
  const ratio = own / median(rates(bullmq));
  const ratioApart = median(rates(apart.podline)) / median(rates(apart.bullmq));
  const reached = `${ratio.toFixed(1)}× (${words}); in two calls each ${ratioApart.toFixed(1)}×`;
  return goal(figure, wanted, reached, ratio >= 5 && p99Ms <= 10);
}

function streamed(
  [figure, wanted]: Named,
  streams: NonNullable<JournalFigures['ndjson']>,
  { perSecond }: JournalFigures['submit'],
): Goal {
  const streamedPerSecond = median(streams.map((stream) => stream.perSecond));
  const grewMiB = Math.max(...streams.map(({ grewBytes }) => grewBytes)) / 2 ** 20;
  const reached = `${whole(streamedPerSecond)}, ${grewMiB.toFixed(0)} MiB more memory (${whole(median(perSecond))} without HTTP)`;
  return goal(figure, wanted, reached, streamedPerSecond >= 100_000 && grewMiB <= 256);
}

function overHttp([figure, wanted]: Named, http: NonNullable<JournalFigures['http']>): Goal {
  const full = median(rates(http.full));
  const halfMs = median(http.half.map(({ p99Ms }) => p99Ms));
  return goal(figure, wanted, `${whole(full)}, p99 ${halfMs.toFixed(1)} ms at half of it`, full >= 5_000 && halfMs <= 25);
}
