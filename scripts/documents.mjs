/**
 * Documents that are made from code, so that they cannot fall behind it. Pure: `generate.mjs` writes them, and a test in
 * `test/tidy` holds the files against them.
 */
import { stringify } from 'yaml';

/**
 * @param {Record<string, { status: number, retry: string, title: string, hint: string }>} catalogue
 * @param {Map<string, string>} sections the first code of each section and the section's heading
 */
export function errorsDocument(catalogue, sections = errorSections) {
  const lines = [
    '# Errors',
    '',
    'Every error that Podline shows has a code, which keeps its meaning. The same code stands in messages, logs, the journal and in the',
    'body of an answer over HTTP. *Again* says what a caller may do: `later` may pass on its own, `never` ends the same with the same input.',
    '',
    '<!-- Made from runtime/contracts/errors.ts by `npm run generate`. -->',
  ];
  for (const [code, { status, retry, title, hint }] of Object.entries(catalogue)) {
    const heading = sections.get(code);
    if (heading !== undefined)
      lines.push('', `## ${heading}`, '', '| code | meaning | way out | HTTP | again |', '| --- | --- | --- | --- | --- |');
    lines.push(`| <a id="${code.toLowerCase()}"></a>\`${code}\` | ${title} | ${cell(hint)} | ${status} | ${retry} |`);
  }
  return `${lines.join('\n')}\n`;
}

const errorSections = new Map([
  ['PDL_MANIFEST_SYNTAX', 'Manifest and input'],
  ['PDL_SCRATCH_FULL', 'Scratch'],
  ['PDL_STAGE_FAILED', 'Stages'],
  ['PDL_CHECKPOINT_FULL', 'Checkpoints'],
  ['PDL_WORKDIR_BUSY', 'Coordinator'],
  ['PDL_RESULT_DIR', 'Results'],
  ['PDL_REQUEST_INVALID', 'API and use'],
]);

const cell = (text) => text.replaceAll('|', '\\|');

/**
 * @param {Record<string, { kind: string, help: string, labels: readonly string[] }>} catalogue
 * @param {string} prefix of what the client library says of the process
 */
export function metricsDocument(catalogue, prefix) {
  const rows = Object.entries(catalogue).map(
    ([name, { kind, help, labels }]) =>
      `| \`${name}\` | ${kind} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${cell(help)} |`,
  );
  return `${[
    '# Metrics',
    '',
    'A coordinator answers `/metrics` in the text format of Prometheus, to a token with the scope `read` on all pipelines. A kind of task is a',
    'pipeline: `pipeline` tells them apart. At most 256 pipelines and 4,096 stages have labels of their own; what is beyond is counted together as',
    '`other`, and a pipeline that is deleted leaves none behind. Nothing is labelled by shard or line: those are in events, logs and traces.',
    '',
    'Of several coordinators each is scraped. Counters and histograms of shards and all gauges of pipelines and connectors are told by the one',
    `that leads; sum over all. \`${prefix}process_…\` and \`${prefix}nodejs_…\` are what the client library tells of the process itself.`,
    '',
    'A Grafana dashboard, alert rules and a ServiceMonitor are in `manifests/components/monitoring`; what to do when an alert fires is in',
    '[runbook.md](runbook.md).',
    '',
    '<!-- Made from runtime/telemetry/catalogue.ts by `npm run generate`. -->',
    '',
    '| metric | kind | labels | meaning |',
    '| --- | --- | --- | --- |',
    ...rows,
  ].join('\n')}\n`;
}

/** @param {unknown} schema */
export const schemaDocument = (schema) => `${JSON.stringify(schema, null, 2)}\n`;

/** Sections of the reference, by path: what stands above the table. */
const manifestSections = new Map([
  ['spec', 'What the whole pipeline is.'],
  [
    'spec.parameters.NAME',
    'One parameter of the shards. Stages see it under its name; a submission gives it a value, or `--param name=value` does.',
  ],
  ['spec.input', 'Where records come from, and how they become shards and blocks.'],
  ['spec.placement', 'Where lines run in a cluster; a laptop does not look at it.'],
  ['spec.scratch', 'The shared memory of a line.'],
  ['spec.stages[]', 'One stage. It has either `uses` or `command`.'],
  [
    'spec.checkpoints',
    'A cadence is `stage` (when a stream is whole), `auto` (when doing it again would take longer than writing it), `never`, `{ blocks: N }` or `{ every: 30s }`.',
  ],
  ['spec.retries', 'Of shards; a stage has retries of its own, which come first.'],
  ['spec.timeLimits', 'Of shards.'],
  ['spec.resources', 'Of a line.'],
  ['spec.swap', 'How stages take turns.'],
  ['spec.result', 'Where results go, and as what.'],
]);

/**
 * The custom resource definition as a file. In YAML 1.1, which is what kubectl reads: `off` is a word only in quotes there.
 * @param {unknown} definition
 */
export const definitionDocument = (definition) =>
  `# Made from runtime/contracts by \`npm run generate\`; do not edit.\n${stringify(definition, { lineWidth: 0, aliasDuplicateObjects: false, version: '1.1' })}`;

/**
 * The reference of the manifest.
 * @param {object} schema JSON Schema of the manifest
 */
export function manifestDocument(schema) {
  const lines = [
    '# The manifest',
    '',
    'A pipeline is one YAML document. `podline lint FILE` tells every fault in it with line, column and a way out, and an editor that is given',
    '[pipeline.schema.json](pipeline.schema.json) completes and checks it while it is written. How stages are written is in [stages.md](stages.md).',
    '',
    '```yaml',
    'apiVersion: podline.dev/v1alpha1',
    'kind: Pipeline',
    'metadata:',
    '  name: hello',
    'spec:',
    '  input:',
    '    source: ./orders.csv',
    '    format: csv',
    '    chunk: { rows: 100000 } # many shards, each record in exactly one',
    '  slots: 2',
    '  stages:',
    '    - name: clean',
    '      uses: ./clean.ts',
    '    - name: sum',
    '      after: [clean]',
    '      command: [python3, sum.py]',
    '```',
    '',
    'Durations are written `250ms`, `90s`, `10m`, `2h`, quantities as in Kubernetes: `512Mi`, `2Gi`, `500m`. Relative paths start from the',
    "manifest's folder. A field without a default that is not marked *required* may be left out.",
    '',
    '<!-- Made from runtime/contracts/manifest.ts by `npm run generate`. -->',
  ];
  const { apiVersion, kind, metadata, spec } = schema.properties;
  const rows = [row('apiVersion', apiVersion, true), row('kind', kind, true), ...fieldRows(metadata, 'metadata.')];
  lines.push('', '## The document', '', ...table(rows));
  for (const [path, words] of manifestSections) {
    const section = sectionOf(spec, path);
    lines.push('', `## ${path}`, '', words, '', ...table(fieldRows(section, '', path)));
  }
  lines.push(
    '',
    '## Column types',
    '',
    columnTypesOf(spec)
      .map((type) => `\`${type}\``)
      .join(' · '),
  );
  return `${lines.join('\n')}\n`;
}

const table = (rows) => ['| field | value | default | meaning |', '| --- | --- | --- | --- |', ...rows];

function sectionOf(spec, path) {
  let at = spec;
  for (const step of path.split('.').slice(1)) {
    if (step === 'NAME') at = at.additionalProperties;
    else if (step.endsWith('[]')) at = at.properties[step.slice(0, -2)].items;
    else at = at.properties[step];
  }
  return at;
}

/** A row for each field; fields of small objects by their path. Those that have a section of their own are left to it. */
function fieldRows(object, prefix, path = '') {
  const { properties, required = [] } = object;
  return Object.entries(properties).flatMap(([name, field]) => {
    const own = [...manifestSections.keys()].find((section) =>
      [`${path}.${name}`, `${path}.${name}[]`, `${path}.${name}.NAME`].includes(section),
    );
    if (own !== undefined) return [`| \`${prefix}${name}\` | [${own}](#${anchorOf(own)}) | | ${cell(field.description ?? '')} |`];
    if (field.properties !== undefined) return fieldRows(field, `${prefix}${name}.`);
    return [row(`${prefix}${name}`, field, required.includes(name))];
  });
}

const anchorOf = (heading) => heading.toLowerCase().replaceAll(/[^a-z0-9 _-]/g, '');

function row(name, field, required) {
  const value =
    field.default === undefined ? (required ? '*required*' : '') : `\`${JSON.stringify(field.default).replaceAll('"', '')}\``;
  return `| \`${name}\` | ${cell(valueWords(field))} | ${value === '`{}`' ? '' : value} | ${cell(field.description ?? '')} |`;
}

/** What a field may be, in words. */
function valueWords(field) {
  if (field.const !== undefined) return `\`${field.const}\``;
  if (isColumnType(field)) return 'column type';
  if (field.enum !== undefined) return field.enum.map((value) => `\`${value}\``).join(', ');
  if (field.anyOf !== undefined) {
    if (field.anyOf.some(({ pattern }) => pattern?.includes('Ki'))) return 'quantity';
    return [...new Set(field.anyOf.map(valueWords))].join(', ');
  }
  if (field.pattern?.includes('(ms|s|m|h|d)')) return 'duration';
  if (field.type === 'array') return `list of ${valueWords(field.items)}`;
  if (field.type === 'object' && field.properties !== undefined)
    return `{ ${Object.entries(field.properties)
      .map(([name, of]) => `${name}: ${valueWords(of)}`)
      .join(', ')} }`;
  if (field.type === 'object') return `map of ${valueWords(field.additionalProperties)}`;
  if (field.type === 'integer' || field.type === 'number') return `${field.type}${boundsWords(field)}`;
  return [field.type ?? 'anything'].flat().join(', ');
}

function boundsWords({ minimum, maximum, exclusiveMinimum }) {
  const least = minimum ?? (exclusiveMinimum === undefined ? undefined : exclusiveMinimum + 1);
  const most = maximum === Number.MAX_SAFE_INTEGER ? undefined : maximum;
  if (least === undefined && most === undefined) return '';
  return most === undefined ? ` from ${least}` : ` ${least ?? ''}–${most}`;
}

const isColumnType = (field) => field.enum?.includes('timestamp[ms]') === true;
const columnTypesOf = (spec) =>
  spec.properties.input.properties.columns.anyOf.find((form) => form.additionalProperties !== undefined).additionalProperties
    .enum;
