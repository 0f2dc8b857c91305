/** The journal's figures as Markdown. */
import type { CycleRate, JournalFigures } from './figures.js';

export function journalPart({ clients, podline, bullmq, chained, submit, http, ndjson, growth }: JournalFigures): string[] {
  const row = (name: string, { cyclesPerSecond, p99Ms, cpuUsEach }: CycleRate): string =>
    `| ${name} | ${cyclesPerSecond.toFixed(0)} | ${p99Ms.toFixed(1)} | ${cpuUsEach.toFixed(0)} |`;
  const rates = submit.perSecond.map(
    (perSecond, round) => `${perSecond.toFixed(0)} (${(submit.cpuUsEach[round] ?? 0).toFixed(1)} µs of CPU each)`,
  );
  const streams = (ndjson ?? []).map(
    ({ perSecond, cpuUsEach, grewBytes }) =>
      `${perSecond.toFixed(0)} (${cpuUsEach.toFixed(1)} µs of the server's CPU each, ${(grewBytes / 2 ** 20).toFixed(0)} MiB more memory)`,
  );
  return [
    '## The journal',
    '',
    `Claim and complete, ${String(clients)} clients, each round in turns. Each row, and each figure of the lists below, is one round. CPU is that of the process that asks: the one of Redis is not in it.`,
    '',
    '| | cycles a second | p99 of a call, ms | CPU each, µs |',
    '| --- | --- | --- | --- |',
    ...podline.map((rate) => row('Podline, LMDB', rate)),
    ...bullmq.map((rate) => row('BullMQ, Redis with appendfsync always', rate)),
    ...(chained?.podline ?? []).map((rate) => row('Podline, LMDB; a completion and the next claim in one call', rate)),
    ...(chained?.bullmq ?? []).map((rate) => row('BullMQ; a completion and the next claim in one call', rate)),
    '',
    `Submitted durably, a second: ${rates.join(', ')}.`,
    '',
    `Submitted by one stream of NDJSON over HTTP, a second: ${streams.join(', ')}.`,
    '',
    ...(http === undefined
      ? []
      : [
          `Claim and complete over HTTP, ${String(http.lines)} lines on kept connections, a completion and the next lease in one call. CPU is the server's.`,
          '',
          '| | cycles a second | p99 of a call, ms | CPU each, µs |',
          '| --- | --- | --- | --- |',
          ...http.full.map((rate) => row('as fast as it goes', rate)),
          ...http.half.map((rate) => row('at half that pace', rate)),
        ]),
    '',
    `CPU of one lease: ${growth.map(({ waiting, leaseCpuUs }) => `${leaseCpuUs.toFixed(0)} µs with ${String(waiting)} waiting`).join(', ')}.`,
    '',
  ];
}
