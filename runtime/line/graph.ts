/**
 * The graph of a pipeline: which stage reads which stream, in which order stages may run, and what follows what.
 *
 * A stage's output is a stream of the same name; `input` is the stream that the loader writes. A graph is built once per
 * revision and never changed.
 *
 * Invariants
 *  1. `order` is topological, and among the orders possible the one nearest to the order of the manifest.
 *  2. Every stream that a stage reads is `input` or the stream of a stage that stands before it in `order`.
 */
import { inputStream } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';

export interface GraphStage {
  name: string;
  /** Streams that it reads: names of stages, or `input`. */
  after: readonly string[];
}

export interface Graph<S extends GraphStage = GraphStage> {
  /** Names, topological. */
  order: readonly string[];
  /** Place of a stage in `order`. */
  index: ReadonlyMap<string, number>;
  stages: ReadonlyMap<string, S>;
  /** Stages that read a stream; every stage and `input` has an entry. */
  consumers: ReadonlyMap<string, readonly string[]>;
  /** Stages that read `input`. */
  entries: readonly string[];
  /** Stages that no other stage reads. */
  terminals: readonly string[];
  /** Stages whose streams are the result of the pipeline, in the order of the graph. */
  results: readonly string[];
  /** Stages on the longest way from the input to a stage, itself not counted. */
  depth: ReadonlyMap<string, number>;
  /** Stages on the longest way from a stage to the end, itself counted. */
  remaining: ReadonlyMap<string, number>;
}

/**
 * Throws PDL_MANIFEST_CYCLE with the names on the cycle, PDL_MANIFEST_INVALID for a name that is not there or there twice.
 * `resultStages`: absent, the terminal stages are the result.
 */
export function buildGraph<S extends GraphStage>(stages: readonly S[], resultStages?: readonly string[]): Graph<S> {
  const byName = new Map<string, S>();
  for (const stage of stages) {
    if (byName.has(stage.name))
      throw new PodlineError('PDL_MANIFEST_INVALID', `two stages have the name "${stage.name}"`, {
        place: `stages.${stage.name}`,
      });
    byName.set(stage.name, stage);
  }
  const consumers = consumersOf(stages, byName);
  const order = topologicalOrder(stages).map((stage) => stage.name);
  const terminals = order.filter((name) => (consumers.get(name) ?? []).length === 0);
  for (const name of resultStages ?? []) {
    if (!byName.has(name))
      throw new PodlineError('PDL_MANIFEST_INVALID', `result.stages names "${name}", which is not a stage`, {
        place: 'result.stages',
      });
  }
  return {
    order,
    index: new Map(order.map((name, index) => [name, index])),
    stages: byName,
    consumers,
    entries: consumers.get(inputStream) ?? [],
    terminals,
    results: resultStages === undefined ? terminals : order.filter((name) => resultStages.includes(name)),
    ...distances(order, byName, consumers),
  };
}

function consumersOf(stages: readonly GraphStage[], byName: ReadonlyMap<string, GraphStage>): Map<string, string[]> {
  const consumers = new Map<string, string[]>([
    [inputStream, []],
    ...stages.map((stage): [string, string[]] => [stage.name, []]),
  ]);
  for (const stage of stages) {
    for (const stream of new Set(stage.after)) {
      const readers = consumers.get(stream);
      if (readers === undefined) {
        const known = [inputStream, ...byName.keys()].join(', ');
        throw new PodlineError('PDL_MANIFEST_INVALID', `stage "${stage.name}" comes after "${stream}", which is not a stage`, {
          place: `stages.${stage.name}.after`,
          hint: `Name one of: ${known}.`,
        });
      }
      readers.push(stage.name);
    }
  }
  return consumers;
}

/** The stages, each behind those that it comes after. Throws PDL_MANIFEST_CYCLE. */
export function topologicalOrder<S extends GraphStage>(stages: readonly S[]): S[] {
  const placed = new Set<string>([inputStream]);
  const order: S[] = [];
  let rest = [...stages];
  while (rest.length > 0) {
    const next = rest.filter((stage) => {
      if (!stage.after.every((stream) => placed.has(stream))) return true;
      placed.add(stage.name);
      order.push(stage);
      return false;
    });
    if (next.length === rest.length) {
      const cycle = findCycle(stages) ?? rest.map((stage) => stage.name);
      throw new PodlineError('PDL_MANIFEST_CYCLE', `the stages form a cycle: ${[...cycle, cycle[0] ?? ''].join(' → ')}`, {
        place: `stages.${cycle[0] ?? ''}.after`,
      });
    }
    rest = next;
  }
  return order;
}

/** The names on one cycle, each stage before the one that comes after it; undefined where there is none. */
export function findCycle(stages: readonly GraphStage[]): string[] | undefined {
  const byName = new Map(stages.map((stage) => [stage.name, stage]));
  const finished = new Set<string>();
  const path: string[] = [];
  const visit = (name: string): string[] | undefined => {
    const at = path.indexOf(name);
    if (at >= 0) return path.slice(at).reverse();
    if (finished.has(name)) return undefined;
    path.push(name);
    for (const before of byName.get(name)?.after ?? []) {
      const cycle = visit(before);
      if (cycle !== undefined) return cycle;
    }
    path.pop();
    finished.add(name);
    return undefined;
  };
  for (const stage of stages) {
    const cycle = visit(stage.name);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

function distances(
  order: readonly string[],
  stages: ReadonlyMap<string, GraphStage>,
  consumers: ReadonlyMap<string, readonly string[]>,
) {
  const depth = new Map<string, number>();
  for (const name of order) {
    const before = (stages.get(name)?.after ?? []).map((stream) => depth.get(stream) ?? -1);
    depth.set(name, 1 + Math.max(-1, ...before));
  }
  const remaining = new Map<string, number>();
  for (const name of order.toReversed()) {
    remaining.set(name, 1 + Math.max(0, ...(consumers.get(name) ?? []).map((reader) => remaining.get(reader) ?? 0)));
  }
  return { depth, remaining };
}

/** The stages that read a stream. */
export const readersOf = (graph: Graph, stream: string): readonly string[] => graph.consumers.get(stream) ?? [];

/** A stage and all that come after it, directly or not, in topological order. */
export function withDescendants(graph: Graph, from: string): string[] {
  const reached = new Set([from]);
  for (const name of graph.order) {
    if (graph.stages.get(name)?.after.some((stream) => reached.has(stream)) === true) reached.add(name);
  }
  return graph.order.filter((name) => reached.has(name));
}

/** All streams that a stage is made from, directly or not, `input` included. */
export function ancestorsOf(graph: Graph, stage: string): Set<string> {
  const reached = new Set<string>(graph.stages.get(stage)?.after);
  for (const name of graph.order.toReversed()) {
    if (reached.has(name)) for (const stream of graph.stages.get(name)?.after ?? []) reached.add(stream);
  }
  return reached;
}

/** The heaviest way from input to end, by name; `weight` is what a stage takes (default: all take the same). */
export function criticalPath(graph: Graph, weight: (stage: string) => number = () => 1): string[] {
  const best = new Map<string, { total: number; next: string | undefined }>();
  for (const name of graph.order.toReversed()) {
    let next: string | undefined;
    let total = 0;
    for (const reader of readersOf(graph, name)) {
      const way = best.get(reader)?.total ?? 0;
      if (next === undefined || way > total) [next, total] = [reader, way];
    }
    best.set(name, { total: total + weight(name), next });
  }
  let at = graph.entries.toSorted((a, b) => (best.get(b)?.total ?? 0) - (best.get(a)?.total ?? 0))[0];
  const path: string[] = [];
  while (at !== undefined) {
    path.push(at);
    at = best.get(at)?.next;
  }
  return path;
}
