/**
 * The arrows between folders, as in ARCHITECTURE.md: contracts ← platform ← line ← scratch ← (checkpoints, stages,
 * sources, results) ← (journal, coordinator, api, agent). A folder may import what stands in its row and itself.
 */
const beneath = ['contracts', 'platform'];
const data = [...beneath, 'line', 'scratch'];
const stations = ['checkpoints', 'stages', 'sources', 'results'];

const mayImport = {
  contracts: [],
  platform: ['contracts'],
  telemetry: beneath,
  line: beneath,
  access: beneath,
  scratch: [...beneath, 'line'],
  checkpoints: data,
  stages: data,
  sources: [...data, 'access'],
  results: [...data, 'access'],
  config: [...beneath, 'line'],
  journal: [...beneath, 'line'],
  api: [...beneath, 'line', 'access', 'journal', 'coordinator', 'telemetry'],
  coordinator: [...beneath, 'line', 'access', 'journal', 'api', 'config', 'sources', 'telemetry'],
  webhooks: [...beneath, 'line', 'access', 'journal', 'coordinator'],
  connectors: [...beneath, 'line', 'api'],
  local: [...beneath, 'line', 'config', 'telemetry'],
  cluster: [...beneath, 'line', 'config', 'telemetry', 'sources', 'coordinator'],
};

const arrows = Object.entries(mayImport).map(([folder, allowed]) => ({
  name: `arrows-${folder}`,
  comment: `runtime/${folder} may import only ${['itself', ...allowed].join(', ')}.`,
  severity: 'error',
  from: { path: `^runtime/${folder}/` },
  to: {
    path: '^(runtime|sidecars|benchmarks|examples|test)/',
    // Units are spelled alike everywhere above the contracts.
    pathNot: `^runtime/(${[folder, ...allowed].join('|')})/${folder === 'contracts' ? '' : '|^runtime/config/units\\.ts$'}`,
  },
}));

/** A heavy dependency has one home. */
const home = (dependency, path) => ({
  name: `home-of-${dependency.replaceAll(/\W/g, '')}`,
  comment: `${dependency} is imported in ${path} only.`,
  severity: 'error',
  from: { path: '^(runtime|sidecars)/', pathNot: path },
  to: { path: `node_modules/${dependency}/` },
});

module.exports = {
  forbidden: [
    ...arrows,
    home('lmdb', '^runtime/scratch/index-store\\.ts$|^runtime/journal/lmdb/[^/]+\\.ts$'),
    home('postgres', '^runtime/journal/postgres/'),
    home('@kubernetes/client-node', '^runtime/cluster/'),
    home('prom-client', '^runtime/telemetry/'),
    home('@opentelemetry', '^runtime/telemetry/tracing\\.ts$'),
    home('pino', '^runtime/telemetry/logger\\.ts$'),
    home('fastify', '^runtime/api/'),
    home('esbuild', '^runtime/config/'),
    home('yaml', '^runtime/config/'),
    home('kafkajs', '^runtime/connectors/kafka/'),
    home('rabbitmq-client', '^runtime/connectors/rabbitmq/'),
    home('chokidar', '^runtime/connectors/folder/'),
    home('commander', '^runtime/cli/'),
    home('hyparquet', '^runtime/(sources|results)/'),
    {
      name: 'line-is-pure',
      comment: 'Decisions have no effects: no files, sockets, processes, timers or threads in runtime/line.',
      severity: 'error',
      from: { path: '^runtime/line/' },
      to: { dependencyTypes: ['core'], pathNot: '^(node:)?crypto$' },
    },
    {
      name: 'contracts-are-data',
      comment: 'The dictionary depends on zod and nothing else.',
      severity: 'error',
      from: { path: '^runtime/contracts/' },
      to: { dependencyTypesNot: ['local'], pathNot: 'node_modules/zod/' },
    },
    {
      name: 'runtime-knows-no-sidecar',
      severity: 'error',
      from: { path: '^runtime/' },
      to: { path: '^(sidecars|benchmarks|examples|test)/' },
    },
    {
      name: 'coordinator-agent-and-shim-meet-in-contracts',
      severity: 'error',
      from: { path: '^sidecars/' },
      to: { path: '^runtime/(coordinator|journal|local|cluster|cli|serve|webhooks|dashboard)/|^runtime/api/(?!(line-)?client)' },
    },
    {
      name: 'clients-know-contracts-only',
      comment: 'A client of the API is imported where no coordinator is.',
      severity: 'error',
      from: { path: '^runtime/api/(line-)?client\\.ts$' },
      to: { path: '^(runtime|sidecars)/', pathNot: '^runtime/(contracts|platform)/|^runtime/api/(?!server)' },
    },
    {
      name: 'agent-and-shim-apart',
      severity: 'error',
      from: { path: '^sidecars/([^/]+)/' },
      to: { path: '^sidecars/', pathNot: '^sidecars/$1/' },
    },
    {
      name: 'mains-compose',
      comment: 'main.ts puts parts together; nothing imports it.',
      severity: 'error',
      from: {},
      to: { path: '/main\\.ts$' },
    },
    {
      name: 'drivers-are-chosen-by-whoever-composes',
      severity: 'error',
      from: { pathNot: '^runtime/(local|cluster|cli|serve)/|/main\\.ts$' },
      to: { path: '^runtime/(local|cluster)/' },
    },
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } } },
    {
      name: 'no-dev-dependency-at-run-time',
      severity: 'error',
      from: { path: '^(runtime|sidecars)/' },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only', 'npm'] },
    },
    { name: 'no-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^dist/' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'types', 'node', 'default'],
      extensions: ['.ts', '.js', '.d.ts'],
    },
  },
};
