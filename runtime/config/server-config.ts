/** The configuration of a coordinator, from its file and the environment, with absolute paths; and token files. */
import { dirname, resolve } from 'node:path';
import { tokenFileSchema, type TokenEntry } from '../contracts/access.js';
import type { ConnectorConfig, SecretRef } from '../contracts/connectors.js';
import { PodlineError } from '../contracts/errors.js';
import { configOverrides, serverConfigSchema, type ServerConfig } from '../contracts/server-config.js';
import { parseDocument, readDocument } from './document.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** Without a file, what the environment and the defaults say; relative paths then start from `cwd`. Throws PDL_CONFIG_INVALID. */
export async function readServerConfig(file: string | undefined, environment: Environment, cwd: string): Promise<ServerConfig> {
  const overrides = Object.entries(configOverrides).flatMap(([from, at]) => {
    const value = environment[from];
    return value === undefined || value === '' ? [] : [{ from, at, value }];
  });
  const options = { schema: serverConfigSchema, kind: 'configuration', overrides };
  const config = file === undefined ? parseDocument('', 'the environment', options) : await readDocument(file, options);
  requireSafe(config, file ?? 'the environment');
  return absolute(config, file === undefined ? cwd : dirname(resolve(cwd, file)));
}

function requireSafe(config: ServerConfig, file: string): void {
  requireAutoscaler(config, file);
  const { listen, driver, cluster } = config;
  if (cluster !== undefined && driver !== 'none')
    throw new PodlineError('PDL_CONFIG_INVALID', `${file} driver: ${driver} and cluster do not go together`, {
      place: `${file} driver`,
      hint: 'Leave out one of them: in a cluster lines are pods.',
    });
  const isLoopback = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/.test(listen.host);
  if (isLoopback || listen.tls !== undefined || listen.plaintext) return;
  throw new PodlineError(
    'PDL_CONFIG_INVALID',
    `${file} listen.host: ${listen.host} is not loopback, and there is no listen.tls`,
    {
      place: `${file} listen`,
      hint: 'Give listen.tls, or say listen.plaintext: true where something before it has TLS.',
    },
  );
}

function requireAutoscaler({ autoscaler, driver, cluster, webhooks }: ServerConfig, file: string): void {
  if (autoscaler === undefined) return;
  const fault = (at: string, why: string, hint: string): PodlineError =>
    new PodlineError('PDL_CONFIG_INVALID', `${file} ${at}: ${why}`, { place: `${file} ${at}`, hint });
  const { command, webhook } = autoscaler;
  if ((command === undefined) === (webhook === undefined))
    throw fault(
      'autoscaler',
      'it is told by a command or by a webhook',
      'Give one of autoscaler.command and autoscaler.webhook.',
    );
  if (cluster === undefined && driver === 'none')
    throw fault('autoscaler', 'without lines of its own this coordinator knows no W_max', 'Say driver: local, or cluster: {}.');
  if (cluster?.autoscaling === 'hpa')
    throw fault('autoscaler', 'lines have one autoscaler, and cluster.autoscaling says hpa', 'Leave out one of them.');
  if (webhook === undefined) return;
  if (webhooks.secret === undefined)
    throw fault(
      'autoscaler.webhook',
      'it is signed, and there is no webhooks.secret',
      'Name a file with a secret in webhooks.secret.',
    );
}

function absolute(config: ServerConfig, base: string): ServerConfig {
  const from = (path: string): string => resolve(base, path);
  const maybe = <T extends Record<string, unknown>, K extends keyof T>(of: T, ...names: K[]): T => {
    const copy = { ...of };
    for (const name of names) if (typeof copy[name] === 'string') copy[name] = from(copy[name]) as T[K];
    return copy;
  };
  const { listen, auth, webhooks, journal, cluster, autoscaler } = config;
  const [program, ...args] = autoscaler?.command ?? [];
  return {
    ...config,
    listen: { ...listen, ...(listen.tls === undefined ? {} : { tls: maybe(listen.tls, 'cert', 'key') }) },
    workDir: from(config.workDir),
    ...(journal === undefined
      ? {}
      : { journal: journal.startsWith('lmdb:') ? `lmdb:${from(journal.slice('lmdb:'.length))}` : journal }),
    ...(cluster === undefined ? {} : { cluster: { ...maybe(cluster, 'kubeconfig'), lines: maybe(cluster.lines, 'caFile') } }),
    ...(autoscaler === undefined || program?.includes('/') !== true
      ? {}
      : { autoscaler: { ...autoscaler, command: [from(program), ...args] as const } }),
    pipelines: config.pipelines.map((pipeline) => maybe(pipeline, 'manifest')),
    connectors: config.connectors.map((connector) => absoluteConnector(connector, from)),
    auth: maybe(auth, 'tokens', 'lineSecret'),
    webhooks: maybe(webhooks, 'secret'),
  };
}

function absoluteConnector(connector: ConnectorConfig, from: (path: string) => string): ConnectorConfig {
  const secret = (ref: SecretRef): SecretRef => ('file' in ref ? { file: from(ref.file) } : ref);
  if (connector.kind === 'folder') {
    const { dir, resultDir } = connector;
    return { ...connector, dir: from(dir), ...(resultDir === undefined ? {} : { resultDir: from(resultDir) }) };
  }
  const tls = typeof connector.tls === 'boolean' ? connector.tls : { caFile: from(connector.tls.caFile) };
  if (connector.kind === 'rabbitmq')
    return { ...connector, tls, ...(connector.password === undefined ? {} : { password: secret(connector.password) }) };
  const { sasl } = connector;
  return { ...connector, tls, ...(sasl === undefined ? {} : { sasl: { ...sasl, password: secret(sasl.password) } }) };
}

/** Throws PDL_CONFIG_INVALID. */
export async function readTokenFile(file: string): Promise<TokenEntry[]> {
  const { tokens } = await readDocument(file, { schema: tokenFileSchema, kind: 'token file' });
  const names = new Set<string>();
  for (const { name } of tokens) {
    if (names.has(name)) throw new PodlineError('PDL_CONFIG_INVALID', `${file}: two tokens are named ${name}`, { place: file });
    names.add(name);
  }
  return tokens;
}
