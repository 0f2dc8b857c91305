/**
 * Writes docs/failures.md and docs/swaps.md from the figures of a run of the cluster tests, and from nothing else.
 *
 * usage: PODLINE_CLUSTER_FIGURES=DIR npm run test:cluster && node scripts/cluster-figures.mjs DIR
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';

const [, , dir] = process.argv;
if (dir === undefined) throw new Error('usage: node scripts/cluster-figures.mjs DIR');
const docs = resolve(dirname(fileURLToPath(import.meta.url)), '..', 'docs');

/** @returns {{ at: string, machine: string, figures: Record<string, unknown>[] }} */
function read(name) {
  const file = join(dir, `${name}.json`);
  if (!existsSync(file)) throw new Error(`${file} is not there: the run was not whole`);
  return JSON.parse(readFileSync(file, 'utf8'));
}

/** Columns: what stands above, and how it is made of a row. */
function table(rows, columns) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const heads = Object.keys(columns);
  const body = rows.map((row) =>
    line(Object.values(columns).map((cell) => String(cell(row) ?? '').replaceAll('|', '\\|') || '–')),
  );
  return [line(heads), line(heads.map(() => '---')), ...body].join('\n');
}
const from = ({ at, machine }) => `Run of ${at} on ${machine}.`;
/** Of a table of failures. */
const failed = {
  failure: (row) => row.failure,
  again: (row) => row.repeatedBlocks,
  'went on from': (row) => row.resumedFrom,
  leases: (row) => row.leases,
  'back, s': (row) => row.backS,
  'delivered, s': (row) => row.deliveredS,
};
const code = (words) =>
  words
    ? String(words)
        .split(/,? (?=[a-zA-Z])/)
        .map((word) => `\`${word}\``)
        .join(', ')
    : '';

const conditionsOf = (words) =>
  words
    .split(', ')
    .flatMap((word) => (word === '' ? [] : [`\`${word}\``]))
    .join(', ');

const write = async (name, text) => {
  const file = join(docs, name);
  writeFileSync(file, await format(text, { ...(await resolveConfig(file)), parser: 'markdown' }));
};

const ofImages = (run) => `## What somebody mends, or what passes

_Said_: seconds until the reason stands in the status of the pipeline. _Delivered_: seconds from when it was mended, or had passed. ${from(run)}

${table(run.figures, {
  failure: (row) => row.failure,
  reason: (row) => code(row.told),
  'said, s': (row) => row.saidS,
  'delivered, s': (row) => row.deliveredS,
})}
`;

const ofRest = (run) => `## Nothing to do

What a coordinator costs that has one line at rest, and writes nothing: CPU of its process, over 20 s. ${from(run)}

${table(run.figures, { coordinator: (row) => row.coordinator, 'CPU, % of a core': (row) => row.cpuPercent })}
`;

const [faults, nodes, images, swaps, rest] = ['faults', 'nodes', 'images', 'swaps', 'rest'].map(read);

await write(
  'failures.md',
  `# What failures cost

<!-- Made by scripts/cluster-figures.mjs from a run of test/cluster; do not edit. -->

Every failure is brought about for real, on a real kubelet, scheduler and API server with OpenKruise, while a shard of three stages and twelve blocks is on the
line. Each ended with the result hash of a laptop. _Back_: seconds from the failure to the first block that was worked on behind it. Where a part of the
cluster fails, what is in the slots goes on; _back_ is then the first block of the stage that had still to be swapped in, and holds how long the failure
lasted.
_Delivered_: seconds from the failure to the result. _Again_: blocks that were worked on more than once, counted by the stages themselves.

${from(faults)}

${table(faults.figures, { ...failed, events: (row) => code(row.told), 'in the status, meanwhile': (row) => conditionsOf(row.conditions) })}

## Nodes

The nodes of the test cluster are held to be dead after 20 s, and the pipeline tolerates that for 1 s; with the defaults of Kubernetes and of Podline
it is 50 s and 30 s. ${from(nodes)}

${table(nodes.figures, failed)}

${ofImages(images)}
${ofRest(rest)}`,
);

const timed = swaps.figures.filter((row) => row.p50ms !== undefined);
const behind = swaps.figures.filter((row) => row.wallMs !== undefined);
await write(
  'swaps.md',
  `# What swaps cost

<!-- Made by scripts/cluster-figures.mjs from a run of test/cluster/swaps.test.ts; do not edit. -->

A swap in the foreground is an image patch of one pod, from the order to the new process. A hand-over is what a line does instead: the next stage is
in its slot already. All in one run, side by side. ${from(swaps)}

${table(timed, {
  what: (row) => row.what,
  times: (row) => row.times,
  'p50, ms': (row) => row.p50ms,
  'p99, ms': (row) => row.p99ms,
  'most, ms': (row) => row.maxMs,
})}

A hand-over is counted from the commit that makes the output of the stage before whole to the first call of the next stage's code, by the clock of the node. The
next stage's run is [prepared](decisions/0028-runs-are-prepared.md) by then, and begins by itself. It waits for a core where there is load. What takes how long
at rest, and what was tried to shorten it, is in the [notes of the benchmarks](../benchmarks/notes/hand-over.md).

A whole shard, whose stages are longer than a swap, against the sum of the stages' own times:

${table(behind, {
  what: (row) => row.what,
  'stages, ms': (row) => row.stagesMs,
  'in all, ms': (row) => row.wallMs,
  over: (row) => row.over,
  'without the first swap': (row) => row.overWithoutFirstSwap,
})}

Where the time beside the stages goes, in ms. _First_: the swap of the first stage, as far as loading does not hide it. _Others_: for each further stage, from
the end of the one before to its own first call; longer than a hand-over where its swap took longer than the stage before. _Rest_: lease,
delivery, the word of the end.

${table(behind, {
  what: (row) => row.what,
  load: (row) => row.loadMs,
  first: (row) => row.firstMs,
  others: (row) => row.othersMs,
  rest: (row) => row.restMs,
})}
`,
);
