/** The journal's figures as Markdown. */
import type { CycleRate, JournalFigures } from './figures.js';

export function journalPart({ clients, podline, bullmq, submit, growth }: JournalFigures): string[] {
  const row = (name: string, { cyclesPerSecond, p99Ms, cpuUsEach }: CycleRate): string =>
    `| ${name} | ${cyclesPerSecond.toFixed(0)} | ${p99Ms.toFixed(1)} | ${cpuUsEach.toFixed(0)} |`;
  const rates = submit.perSecond.map(
    (perSecond, round) => `${perSecond.toFixed(0)} (${(submit.cpuUsEach[round] ?? 0).toFixed(1)} µs of CPU each)`,
  );
  return [
    '## The journal',
    '',
    `Claim and complete, ${String(clients)} clients, each round in turns. CPU is that of the process that asks: the one of Redis is not in it.`,
    '',
    '| | cycles a second | p99 of a call, ms | CPU each, µs |',
    '| --- | --- | --- | --- |',
    ...podline.map((rate) => row('Podline, LMDB', rate)),
    ...bullmq.map((rate) => row('BullMQ, Redis with appendfsync always', rate)),
    '',
    `Submitted durably, a second: ${rates.join(', ')}.`,
    '',
    `CPU of one lease: ${growth.map(({ waiting, leaseCpuUs }) => `${leaseCpuUs.toFixed(0)} µs with ${String(waiting)} waiting`).join(', ')}.`,
    '',
  ];
}
