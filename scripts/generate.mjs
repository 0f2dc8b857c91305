/** Writes the documents that are made from code. Needs the built `dist/`. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pipelineDefinition } from '../dist/runtime/cluster/crd.js';
import { manifestJsonSchema } from '../dist/runtime/config/json-schema.js';
import { metricCatalogue, processMetricsPrefix } from '../dist/runtime/telemetry/catalogue.js';
import { errorCatalogue } from '../dist/runtime/contracts/errors.js';
import { exampleObjects, objectsDocument } from './example-objects.mjs';
import { definitionDocument, errorsDocument, manifestDocument, metricsDocument, schemaDocument } from './documents.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const documents = {
  'docs/errors.md': errorsDocument(errorCatalogue),
  'docs/metrics.md': metricsDocument(metricCatalogue, processMetricsPrefix),
  'docs/manifest.md': manifestDocument(manifestJsonSchema()),
  'docs/pipeline.schema.json': schemaDocument(manifestJsonSchema()),
  'manifests/base/crd.yaml': definitionDocument(pipelineDefinition()),
  'openkruise/objects.yaml': objectsDocument(exampleObjects()),
  'manifests/helm/podline/crds/pipelines.yaml': definitionDocument(pipelineDefinition()),
};
for (const [path, text] of Object.entries(documents)) {
  writeFileSync(join(root, path), text);
  console.log(path);
}
