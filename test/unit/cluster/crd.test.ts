import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { pipelineDefinition } from '../../../runtime/cluster/crd.js';
import { structuralSchema, type StructuralSchema } from '../../../runtime/cluster/structural-schema.js';
import { manifestJsonSchema, type JsonSchema } from '../../../runtime/config/json-schema.js';
import { packageRoot } from '../../../runtime/platform/entries.js';
import { definitionDocument } from '../../../scripts/documents.mjs';

const committed = (path: string): string => readFileSync(join(packageRoot, path), 'utf8');
const [version] = pipelineDefinition().spec.versions;
const schema = version?.schema.openAPIV3Schema ?? {};
const at = (...path: string[]): StructuralSchema =>
  path.reduce<StructuralSchema>(
    (node, step) => (step === '[]' ? node.items : step === '*' ? node.additionalProperties : node.properties?.[step]) ?? {},
    schema,
  );

it.each(['manifests/base/crd.yaml', 'manifests/helm/podline/crds/pipelines.yaml'])(
  '%s is what the schemas say; `npm run generate` writes it',
  (path) => {
    expect(committed(path)).toBe(definitionDocument(pipelineDefinition()));
  },
);

describe('the custom resource definition', () => {
  it('is structural: every node has a type, or says that it takes anything, and nothing refers elsewhere', () => {
    const faults: string[] = [];
    const look = (node: StructuralSchema, path: string): void => {
      const free = node['x-kubernetes-preserve-unknown-fields'] === true || node['x-kubernetes-int-or-string'] === true;
      if (node.type === undefined && !free) faults.push(`${path} has no type`);
      for (const word of ['$ref', 'oneOf', 'allOf', 'not', 'const', 'propertyNames', 'exclusiveMinimum'])
        if (word in node) faults.push(`${path} has ${word}`);
      if (node.properties !== undefined && node.additionalProperties !== undefined)
        faults.push(`${path} has both kinds of fields`);
      for (const [name, field] of Object.entries(node.properties ?? {})) look(field, `${path}.${name}`);
      if (node.items !== undefined) look(node.items, `${path}[]`);
      if (node.additionalProperties !== undefined) look(node.additionalProperties, `${path}.*`);
    };
    look(schema, '');
    expect(faults).toEqual([]);
  });

  it('has every field of the manifest', () => {
    const { properties } = manifestJsonSchema();
    const names = Object.keys((properties?.['spec'] as JsonSchema).properties ?? {});
    expect(Object.keys(at('spec').properties ?? {})).toEqual(names);
  });

  it('takes quantities as text or whole numbers, and words beside numbers', () => {
    expect(at('spec', 'scratch', 'size')).toMatchObject({
      'x-kubernetes-int-or-string': true,
      pattern: expect.stringContaining('Mi') as string,
    });
    expect(at('spec', 'slots')).toMatchObject({
      'x-kubernetes-int-or-string': true,
      pattern: '^auto$',
      minimum: 1,
      maximum: 128,
    });
  });

  it('says in rules what a schema cannot', () => {
    const messages = (node: StructuralSchema): string[] => (node['x-kubernetes-validations'] ?? []).map(({ message }) => message);
    expect(messages(at('spec', 'stages', '[]'))).toContain(
      'a stage has either uses (TypeScript) or command (any program), and not both',
    );
    expect(messages(at('spec', 'input', 'chunk'))).toEqual(['set exactly one of rows, bytes']);
    expect(messages(at('spec', 'parameters', '*'))).toContain('minimum is greater than maximum');
  });

  it('tells stages apart by their names, and conditions by their types', () => {
    expect(at('spec', 'stages')).toMatchObject({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] });
    expect(at('status', 'conditions')).toMatchObject({ 'x-kubernetes-list-map-keys': ['type'] });
  });

  it('leaves defaults to the coordinator, but for what the API server reads itself', () => {
    expect(at('spec', 'lines').default).toBe(1);
    expect(at('spec', 'scratch', 'medium')).not.toHaveProperty('default');
    expect(at('spec', 'scratch', 'medium').description).toContain('Default: "Memory".');
  });

  it('has status and scale, columns, a short name and categories', () => {
    expect(version).toMatchObject({
      subresources: { status: {}, scale: { specReplicasPath: '.spec.lines', labelSelectorPath: '.status.selector' } },
    });
    const columns = (version as unknown as { additionalPrinterColumns: { name: string }[] }).additionalPrinterColumns;
    expect(columns.map(({ name }) => name)).toEqual(['Stage', 'Shards', 'Done', 'Failed', 'Lines', 'Complete', 'Age']);
    expect(pipelineDefinition().spec).toMatchObject({ names: { shortNames: ['ppl'], categories: ['all', 'podline'] } });
  });
});

it('a schema that has no structural form is a fault when it is made', () => {
  expect(() => structuralSchema({ const: null }, 'spec.odd')).toThrow(/spec\.odd/);
});
