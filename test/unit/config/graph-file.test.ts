import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { graphFile } from '../../../runtime/config/graph-file.js';
import { parseManifest } from '../../../runtime/config/manifest.js';

const flights = join(import.meta.dirname, '../../../examples/flights');

function graphOf(text: string): string {
  const { manifest, faults } = parseManifest(text, 'pipeline.yaml');
  if (manifest === undefined) throw new Error(faults.map(({ message }) => message).join());
  return graphFile(manifest, 'pipeline.yaml');
}
const graphOfSpec = (spec: string): string[] =>
  graphOf(`apiVersion: podline.dev/v1alpha1\nkind: Pipeline\nmetadata: {name: p}\nspec:\n${spec}`).split('\n');

describe('the graph of a manifest as a file', () => {
  it('is the one that lies beside the example, which the compiler checks', () => {
    expect(graphOf(readFileSync(join(flights, 'pipeline.yaml'), 'utf8'))).toBe(readFileSync(join(flights, 'graph.ts'), 'utf8'));
  });

  it('names programs by what they write, and the source by its kind', () => {
    const lines = graphOfSpec(
      '  input: {format: bytes}\n  stages: [{name: a, command: [x], output: files}, {name: b, uses: ./b.mts, after: [a, input], combine: concat}]\n',
    );
    expect(lines).toContain("  input: 'bytes',");
    expect(lines).toContain("import b from './b.mjs';");
    expect(lines).toContain("    a: { command: 'files' },");
    expect(lines).toContain("    b: { stage: b, after: ['a', 'input'], combine: 'concat' },");
  });

  it('gives every stage a name that a variable may have', () => {
    const lines = graphOfSpec(
      '  input: {format: csv}\n  stages: [{name: delete, uses: ./d.ts}, {name: 2-go, uses: ./go.ts, after: [delete]}, {name: a-b, uses: ./ab.ts}]\n',
    );
    expect(lines).toContain("import _2_go from './go.js';");
    expect(lines).toContain('    delete: { stage: _delete },');
    expect(lines).toContain("    '2-go': { stage: _2_go, after: ['delete'] },");
    expect(lines).toContain("    'a-b': { stage: a_b },");
  });
});
