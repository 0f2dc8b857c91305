import { describe, expect, it } from 'vitest';
import { ancestorsOf, buildGraph, criticalPath, findCycle, readersOf, withDescendants } from '../../../runtime/line/graph.js';

const stage = (name: string, ...after: string[]) => ({ name, after: after.length === 0 ? ['input'] : after });
const flights = [
  stage('clean'),
  stage('airports', 'clean'),
  stage('delays', 'clean'),
  stage('totals', 'airports', 'delays'),
  stage('report', 'totals'),
];

describe('the graph of a pipeline', () => {
  it('puts each stage behind those that it comes after, whatever the order of the manifest', () => {
    const { order } = buildGraph(flights.toReversed());
    for (const { name, after } of flights)
      for (const before of after) if (before !== 'input') expect(order.indexOf(before)).toBeLessThan(order.indexOf(name));
  });

  it('knows readers, ends, depth and the stages still to go', () => {
    const graph = buildGraph(flights);
    expect(readersOf(graph, 'clean')).toEqual(['airports', 'delays']);
    expect(readersOf(graph, 'input')).toEqual(['clean']);
    expect(graph.terminals).toEqual(['report']);
    expect(graph.results).toEqual(['report']);
    expect(graph.depth.get('totals')).toBe(2);
    expect(graph.remaining.get('clean')).toBe(4);
    expect(withDescendants(graph, 'delays')).toEqual(['delays', 'totals', 'report']);
    expect(ancestorsOf(graph, 'delays')).toEqual(new Set(['clean', 'input']));
  });

  it('takes the stages that the manifest names as results', () => {
    expect(buildGraph(flights, ['report', 'totals']).results).toEqual(['totals', 'report']);
    expect(() => buildGraph(flights, ['nothing'])).toThrow(/result\.stages names "nothing"/);
  });

  it('finds the heaviest way through it', () => {
    expect(criticalPath(buildGraph(flights), (name) => (name === 'delays' ? 5 : 1))).toEqual([
      'clean',
      'delays',
      'totals',
      'report',
    ]);
  });

  it('names the stages on a cycle, each before the one that comes after it', () => {
    const cyclic = [stage('a', 'input', 'c'), stage('b', 'a'), stage('c', 'b'), stage('d')];
    expect(findCycle(cyclic)).toHaveLength(3);
    expect(findCycle(flights)).toBeUndefined();
    expect(() => buildGraph(cyclic)).toThrow(/cycle: .*[abc] → [abc] → [abc] → [abc]/);
  });

  it('refuses a name that is not there, and one that is there twice', () => {
    expect(() => buildGraph([stage('a', 'b')])).toThrow(/"a" comes after "b", which is not a stage/);
    expect(() => buildGraph([stage('a'), stage('a')])).toThrow(/two stages have the name "a"/);
  });
});
