/**
 * The custom resource definition `pipelines.podline.dev`, from the zod schemas of manifest and status. Pure.
 *
 * `scripts/generate.mjs` writes it to `manifests/base/crd.yaml`; a test holds the file against it. What one field's schema cannot
 * say is a rule in CEL here; what CEL cannot say within its cost (names of stages against each other, cycles) the coordinator says.
 */
import { z } from 'zod';
import { manifestJsonSchema, type JsonSchema } from '../config/json-schema.js';
import { pipelineStatusSchema } from '../contracts/pipeline-status.js';
import { structuralSchema, type StructuralSchema, type ValidationRule } from './structural-schema.js';

export const pipelineResource = {
  group: 'podline.dev',
  version: 'v1alpha1',
  kind: 'Pipeline',
  plural: 'pipelines',
} as const;

/**
 * Pods get the label `controller-revision-hash: <name>-<10 letters>`, and the name and its namespace name a line: so a name has a
 * bound below that of a label.
 */
export const pipelineNameMax = 50;

const rules: Record<string, ValidationRule[]> = {
  '': [
    {
      rule: `self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= ${String(pipelineNameMax)}`,
      message: `the name must be lower-case letters, digits and dashes, at most ${String(pipelineNameMax)}`,
    },
  ],
  'spec.stages[]': [
    {
      rule: 'has(self.uses) != has(self.command)',
      message: 'a stage has either uses (TypeScript) or command (any program), and not both',
    },
    { rule: "self.name != 'input'", message: 'input is the name of what the loader writes' },
    { rule: '!has(self.after) || !(self.name in self.after)', message: 'a stage cannot come after itself' },
  ],
  'spec.parameters.*': [
    {
      rule: "(!has(self.minimum) && !has(self.maximum)) || self.type in ['number', 'integer']",
      message: 'minimum and maximum have a meaning for numbers only',
    },
    {
      rule: '!has(self.minimum) || !has(self.maximum) || self.minimum <= self.maximum',
      message: 'minimum is greater than maximum',
    },
  ],
  'spec.placement': [
    {
      rule: "!has(self.nodesMin) || self.nodesMin == 1 || (has(self.spread) && self.spread == 'require')",
      message: 'nodesMin needs spread: require',
    },
  ],
};

interface Column {
  name: string;
  type: 'string' | 'integer' | 'date';
  jsonPath: string;
  description: string;
  priority?: number;
}
const columns: Column[] = [
  { name: 'Stage', type: 'string', jsonPath: '.status.stage', description: 'The stages that run now.' },
  { name: 'Shards', type: 'integer', jsonPath: '.status.shards.total', description: 'Shards that were taken in.' },
  { name: 'Done', type: 'integer', jsonPath: '.status.shards.completed', description: 'Shards whose result was delivered.' },
  { name: 'Failed', type: 'integer', jsonPath: '.status.shards.failed', description: 'Shards that are given up.' },
  { name: 'Lines', type: 'integer', jsonPath: '.status.readyLines', description: 'Lines that work or could.' },
  {
    name: 'Complete',
    type: 'string',
    jsonPath: ".status.conditions[?(@.type=='Complete')].reason",
    description: 'Why it is complete, or is not.',
    priority: 1,
  },
  { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp', description: 'Since it was created.' },
];

export interface CustomResourceDefinition {
  apiVersion: 'apiextensions.k8s.io/v1';
  kind: 'CustomResourceDefinition';
  metadata: { name: string };
  spec: {
    versions: { name: string; schema: { openAPIV3Schema: StructuralSchema }; [field: string]: unknown }[];
    [field: string]: unknown;
  };
}

export function pipelineDefinition(): CustomResourceDefinition {
  const { group, version, kind, plural } = pipelineResource;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { kind, listKind: `${kind}List`, plural, singular: 'pipeline', shortNames: ['ppl'], categories: ['all', 'podline'] },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          schema: { openAPIV3Schema: documentSchema() },
          subresources: {
            status: {},
            scale: {
              specReplicasPath: '.spec.lines',
              statusReplicasPath: '.status.replicas',
              labelSelectorPath: '.status.selector',
            },
          },
          additionalPrinterColumns: columns,
        },
      ],
    },
  };
}

/** apiVersion, kind and metadata are the API server's own: it has schemas for them. */
function documentSchema(): StructuralSchema {
  const { description, properties } = manifestJsonSchema();
  const spec = structuralSchema(properties?.['spec'] as JsonSchema, 'spec', {
    rules,
    mapLists: { 'spec.stages': 'name' },
    // `kubectl scale` and autoscalers read this field.
    keepDefaults: ['spec.lines'],
  });
  const status = structuralSchema(z.toJSONSchema(pipelineStatusSchema, { io: 'input' }), 'status', {
    mapLists: { 'status.conditions': 'type' },
  });
  const condition = status.properties?.['conditions']?.items;
  if (condition?.properties?.['lastTransitionTime'] === undefined) throw new TypeError('the status has no conditions');
  Object.assign(condition.properties['lastTransitionTime'], { format: 'date-time' });
  return {
    ...(description === undefined ? {} : { description }),
    type: 'object',
    required: ['spec'],
    properties: { apiVersion: { type: 'string' }, kind: { type: 'string' }, metadata: { type: 'object' }, spec, status },
    'x-kubernetes-validations': rules[''] ?? [],
  };
}
