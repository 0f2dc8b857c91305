import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { UsageMeter } from '../../../sidecars/agent/usage.js';
import { folder } from '../../support/journal.js';

it('tells the cores that the processes of a line took since the last look, and their memory with the scratch', () => {
  const proc = folder();
  const put = (pid: number, ticks: number, kib: number): void => {
    mkdirSync(join(proc, String(pid)), { recursive: true });
    writeFileSync(join(proc, String(pid), 'stat'), `${String(pid)} (a ) b) S ${'0 '.repeat(10)}${String(ticks)} 10 0 0 20 0\n`);
    writeFileSync(join(proc, String(pid), 'status'), `Name:\ta\nRssAnon:\t   ${String(kib)} kB\n`);
  };
  let nowMs = 0;
  let pids = [1];
  const meter = new UsageMeter(
    () => pids,
    () => nowMs,
    proc,
  );
  put(1, 1_000, 100);
  expect(meter.look(0)).toBeUndefined();
  nowMs = 2_000;
  put(1, 1_100, 100);
  put(2, 190, 28);
  pids = [1, 2, 3];
  expect(meter.look(1_024)).toEqual({ cpu: 1.5, memoryBytes: 129 * 1_024 });
});
