/** Small inputs and stages for tests that are about what goes wrong; each stage does one thing. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench } from './podline.js';

/** `id,name,amount`: as many rows as wanted, always the same. */
export function rowsCsv(rows: number): string {
  const lines = ['id,name,amount'];
  for (let id = 0; id < rows; id++)
    lines.push(
      `${String(id).padStart(7, '0')},name-${String(id % 97).padStart(2, '0')},${String((id * 7919) % 10_007).padStart(5, '0')}`,
    );
  return `${lines.join('\n')}\n`;
}

export const csvInput = (chunkRows: number, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  source: './rows.csv',
  format: 'csv',
  columns: { id: 'int32', name: 'utf8', amount: 'int32' },
  chunk: { rows: chunkRows },
  ...more,
});

/** No patience: a shard that fails has failed. */
export const impatient = { retries: { limit: 0, backoff: { initial: '10ms' } } };

const tools = (stage: string): string => `
import { appendFileSync, existsSync } from 'node:fs';
const dir = process.env.PODLINE_TEST_DIR;
const reached = (ctx) => appendFileSync(dir + '/reached', '${stage} ' + ctx.shard.key + '\\n');
const isOdd = (ctx) => ctx.shard.key.endsWith('1');
`;

/** A stage that adds a column of its own name: the amount and `plus`. What it does before that is `first`. */
export const adding = (name: string, plus: number, first = ''): string => `
import { column, defineStage } from 'podline';
${tools(name)}
export default defineStage({
  input: { amount: 'int32' },
  output: { ${name.replaceAll('-', '_')}: 'int32' },
  async block(batch, ctx) {
    ${first}
    const out = column.int32(batch.rows);
    for (let row = 0; row < batch.rows; row++) out.values[row] = batch.columns.amount.values[row] + ${String(plus)};
    return { columns: { ${name.replaceAll('-', '_')}: out } };
  },
});
`;

const untilOpen = (gate: string): string => `
    while (!existsSync(dir + '/${gate}') && !ctx.signal.aborted) await new Promise((go) => setTimeout(go, 5));
    ctx.signal.throwIfAborted();`;
/** Code for a stage: `await wait(gate, ctx)` is over when the test has opened that gate in `dir`; it throws when the run is cancelled. */
export const wait = `
const wait = async (gate, ctx) => {
  while (!existsSync(dir + '/' + gate) && !ctx.signal.aborted) await new Promise((go) => setTimeout(go, 5));
  ctx.signal.throwIfAborted();
};`;
const waitingAt = (gate: string): string => `reached(ctx);${untilOpen(gate)}`;

/** What stages may do first. `…Odd`: only for the shard whose key ends with 1. */
export const deeds = {
  /** Says that it is there, and waits until the test opens the gate or the run is cancelled. */
  gate: waitingAt('gate'),
  /** The same, with the blocks before number 4 let through. */
  gateAtFour: `reached(ctx); if (batch.index === 4) {${untilOpen('gate')} }`,
  /** The same for a stage behind it. */
  secondGate: waitingAt('second-gate'),
  /** The first gate, and the second one for the shard whose key says LAST; cancelled or not, it goes on. */
  gateOrLast: `reached(ctx);
    const gate = ctx.shard.key.includes('LAST') ? 'second-gate' : 'gate';
    while (!existsSync(dir + '/' + gate) && !ctx.signal.aborted) await new Promise((go) => setTimeout(go, 5));`,
  throwOddWhileBroken: `if (isOdd(ctx) && !existsSync(dir + '/mended')) throw new Error('the wheel came off');`,
  hangOdd: `if (isOdd(ctx)) for (;;);`,
  leakOdd: `if (isOdd(ctx)) { const kept = []; for (;;) kept.push(new Array(10_000).fill(kept.length + 0.5)); }`,
  crashOdd: `if (isOdd(ctx)) { process.kill(process.pid, 'SIGSEGV'); for (;;); }`,
  abortOdd: `if (isOdd(ctx)) process.abort();`,
};

/** The environment in which the stages find the test. */
export const testEnv = (bench: Bench): Record<string, string> => ({ PODLINE_TEST_DIR: bench.dir });

/** `<stage> <key>` for each block that a stage with a gate was called for. */
export const reached = (bench: Bench): string[] => {
  const path = join(bench.dir, 'reached');
  return existsSync(path) ? readFileSync(path, 'utf8').trimEnd().split('\n') : [];
};

export const openGate = (bench: Bench, gate: 'gate' | 'second-gate' = 'gate'): void => {
  bench.file(gate, '');
};
