/**
 * What is run: the flights pipeline of the examples, its stages bundled once, and the edges between them.
 *
 * Runners get it as data and decide only how a block comes from one stage to the next. It generates nothing at random: the
 * source is the 3 million real flights of `vega-datasets`, or the first so many of them.
 */
import { join } from 'node:path';
import { readManifest } from '../runtime/config/manifest.js';
import { resolveParameters } from '../runtime/config/parameters.js';
import { resolvePipeline } from '../runtime/config/pipeline.js';
import { inputStream, type ColumnSchema } from '../runtime/contracts/block.js';
import type { Parameters, Pipeline, PipelineManifest, ResolvedStage } from '../runtime/contracts/manifest.js';
import type { ShardSource } from '../runtime/contracts/shard.js';
import { packageRoot } from '../runtime/platform/entries.js';
import { packageFile } from '../runtime/platform/package-file.js';
import { openSource } from '../runtime/sources/open-source.js';
import { openTable } from '../runtime/sources/open-table.js';
import { outputSchema } from '../runtime/stages/schema.js';

/** What goes from one stage to another. */
export interface Edge {
  from: string;
  to: string;
  columns: ColumnSchema[];
}

export interface Workload {
  manifest: PipelineManifest;
  pipeline: Pipeline;
  baseDir: string;
  stagesDir: string;
  /** Every stage hands on all that it has. */
  edges: Edge[];
  /** Every stage hands on what some stage behind it reads, and nothing twice. */
  tunedEdges: Edge[];
  parameters: Parameters;
  resultStages: string[];
  sourceFile: string;
}

/** One shard to take through the pipeline. */
export interface Job {
  id: string;
  source: ShardSource;
  resultDir: string;
}

export const flightsManifest = join(packageRoot, 'examples', 'flights', 'pipeline.yaml');

const flightsFile = 'vega-datasets/data/flights-3m.parquet';

export async function prepareWorkload(stagesDir: string): Promise<Workload> {
  const { manifest, baseDir } = await readManifest(flightsManifest);
  const pipeline = await resolvePipeline(manifest, { baseDir, stagesDir, revision: 0 });
  const sourceFile = await packageFile(flightsFile, [packageRoot]);
  if (sourceFile === undefined) throw new Error(`there is no ${flightsFile} in node_modules`);
  const input = await inputSchemaOf(manifest, { uri: sourceFile, format: 'parquet' });
  return {
    manifest,
    pipeline,
    baseDir,
    stagesDir,
    edges: allColumns(pipeline.stages, input),
    tunedEdges: neededColumns(pipeline.stages, input),
    parameters: resolveParameters(manifest.spec.parameters, {}, 'the benchmark'),
    resultStages: manifest.spec.result.stages ?? [],
    sourceFile,
  };
}

export const largeSource = (workload: Workload, rows: number | undefined): ShardSource => ({
  uri: workload.sourceFile,
  format: 'parquet',
  ...(rows === undefined ? {} : { rows: [0, rows] as [number, number] }),
});

async function inputSchemaOf(manifest: PipelineManifest, source: ShardSource & { uri: string }): Promise<ColumnSchema[]> {
  const reader = await openSource(source.uri);
  try {
    const table = await openTable(source, { reader }, manifest.spec.input);
    await table.close();
    return table.schema;
  } finally {
    await reader.close();
  }
}

const byName = (columns: readonly ColumnSchema[]): ColumnSchema[] =>
  [...new Map(columns.toReversed().map((column) => [column.name, column])).values()].toReversed();

/** Stages behind those that they read. */
export function inOrder(stages: readonly ResolvedStage[]): ResolvedStage[] {
  const ordered: ResolvedStage[] = [];
  const done = new Set([inputStream]);
  while (ordered.length < stages.length) {
    const next = stages.find((stage) => !done.has(stage.name) && stage.after.every((name) => done.has(name)));
    if (next === undefined) throw new Error('the graph has a cycle');
    ordered.push(next);
    done.add(next.name);
  }
  return ordered;
}

function declared(stage: ResolvedStage): NonNullable<ResolvedStage['declares']> {
  if (stage.declares === undefined) throw new Error(`stage ${stage.name} declares nothing`);
  return stage.declares;
}

export function allColumns(stages: readonly ResolvedStage[], input: readonly ColumnSchema[]): Edge[] {
  const edges: Edge[] = [];
  const out = new Map<string, readonly ColumnSchema[]>([[inputStream, input]]);
  for (const stage of inOrder(stages)) {
    const own = stage.after.map((from): Edge => ({ from, to: stage.name, columns: [...(out.get(from) ?? [])] }));
    edges.push(...own);
    out.set(stage.name, outputSchema(stage.name, declared(stage), byName(own.flatMap(({ columns }) => columns))));
  }
  return edges;
}

/** From the last stage to the first: what each needs, and from which of those before it. */
export function neededColumns(stages: readonly ResolvedStage[], input: readonly ColumnSchema[]): Edge[] {
  const all = allColumns(stages, input);
  const asked = new Map<string, Set<string>>();
  for (const stage of inOrder(stages).toReversed()) {
    const { form, input: reads, output, keep } = declared(stage);
    const into = all.filter(({ to }) => to === stage.name);
    const needed = new Set(
      form === 'files' || reads === undefined
        ? into.flatMap(({ columns }) => columns.map(({ name }) => name))
        : Object.keys(reads),
    );
    if (keep !== 'none') for (const name of asked.get(stage.name) ?? []) if (output?.[name] === undefined) needed.add(name);
    const taken = new Set<string>();
    for (const edge of into) {
      edge.columns = edge.columns.filter(({ name }) => needed.has(name) && !taken.has(name));
      const wanted = asked.get(edge.from) ?? new Set();
      for (const { name } of edge.columns) {
        taken.add(name);
        wanted.add(name);
      }
      asked.set(edge.from, wanted);
    }
  }
  return all;
}
