/**
 * Of how many stages the output lies in the scratch at once, when stages run one after another and what nothing reads any more is
 * given back (`live-columns.ts`): what a shard needs beside its input.
 */
import type { ReadingStage } from './live-columns.js';

/** Stands for columns whose names are not known: of commands, of stages without declared output, bytes, files. */
const unknown = '*';

/** @param order the stages, inputs before their readers. */
export function outputsAtOnce(order: readonly ReadingStage[], results: readonly string[]): number {
  const begins = order.map((_, at) => ({ at, last: lastUse(order, results, at) }));
  let most = 0;
  for (const at of order.keys()) most = Math.max(most, begins.filter((made) => made.at <= at && at <= made.last).length);
  return most;
}

/** The place of the last stage that reads something that the stage at `at` wrote itself, in its own stream or handed on. */
function lastUse(order: readonly ReadingStage[], results: readonly string[], at: number): number {
  const carried = new Map<string, readonly string[]>();
  let last = at;
  for (const [place, stage] of order.entries()) {
    if (place < at) continue;
    if (place === at) carried.set(stage.name, ownColumns(stage));
    else {
      const reaching = [...new Set(stage.after.flatMap((stream) => carried.get(stream) ?? []))];
      if (reaching.some((column) => reads(stage, column))) last = place;
      carried.set(stage.name, handedOn(stage, reaching));
    }
    if (results.includes(stage.name) && (carried.get(stage.name) ?? []).length > 0) last = order.length;
  }
  return last;
}

const ownColumns = ({ declares }: ReadingStage): string[] =>
  declares?.output === undefined ? [unknown] : Object.keys(declares.output);

function reads({ declares }: ReadingStage, column: string): boolean {
  const input = declares?.form === 'files' || declares?.form === 'bytes' ? undefined : declares?.input;
  return input === undefined || column === unknown || Object.hasOwn(input, column);
}

function handedOn({ declares }: ReadingStage, reaching: readonly string[]): string[] {
  if (declares === undefined || declares.keep === 'none') return [];
  const { keep, rename = {}, output = {} } = declares;
  return reaching.flatMap((column) => {
    const renamed = Object.keys(rename).filter((name) => rename[name] === column);
    const names = renamed.length > 0 ? renamed : [column];
    return names.filter((name) => name === unknown || ((keep === 'all' || keep.includes(name)) && !Object.hasOwn(output, name)));
  });
}
