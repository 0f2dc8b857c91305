/**
 * A coordinator on this machine whose lines are real pods of the test cluster: journal, API where pods reach it, and the kruise
 * driver. What `podline run` composes on a laptop, with another driver.
 *
 * Owns a namespace, a folder for the journal and the bundles, and a folder of the cluster's volume for results; `close` removes all.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { PodlineClient } from '../../../runtime/api/client.js';
import { startApiServer } from '../../../runtime/api/server.js';
import { SummaryBuilder, type RunSummary } from '../../../runtime/cli/summary.js';
import { KruiseDriver } from '../../../runtime/cluster/kruise-driver.js';
import { openKube } from '../../../runtime/cluster/kube.js';
import { readManifest } from '../../../runtime/config/manifest.js';
import { resolveParameters } from '../../../runtime/config/parameters.js';
import { resolvePipeline } from '../../../runtime/config/pipeline.js';
import type { DriverEvent } from '../../../runtime/contracts/driver.js';
import { PodlineError } from '../../../runtime/contracts/errors.js';
import type { Pipeline } from '../../../runtime/contracts/manifest.js';
import type { Shard } from '../../../runtime/contracts/shard.js';
import { createCoordinator, type Coordinator } from '../../../runtime/coordinator/coordinator.js';
import { openLmdbJournal } from '../../../runtime/journal/lmdb/lmdb-journal.js';
import { slotsOf } from '../../../runtime/line/concurrency.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { splitInput } from '../../../runtime/sources/split.js';
import { clusterScript, kubeconfig, kubectl, kubectlJson, machineIp, volumeDir, type Pod } from './cluster.js';

/** The user of all containers, as in the chart's values. */
const linesUser = 10_001;

export class PodLine {
  readonly events: DriverEvent[] = [];
  readonly #closers: (() => Promise<unknown>)[] = [];

  private constructor(
    readonly namespace: string,
    readonly pipeline: Pipeline,
    readonly coordinator: Coordinator,
    readonly client: PodlineClient,
    private readonly sources: { key: string; source: Shard['source'] }[],
    private readonly resultDir: string,
  ) {}

  /** The name of the pod, and of the line. */
  get name(): string {
    return `${this.pipeline.name}-0`;
  }

  /** One pod for the pipeline of a manifest. What was started is ended when a step fails. */
  static async start(manifestFile: string, namespace: string): Promise<PodLine> {
    const closers: (() => Promise<unknown>)[] = [];
    try {
      const dir = await mkdtemp(join(tmpdir(), 'podline-pod-'));
      closers.push(() => rm(dir, { recursive: true, force: true }));
      // The same path on this machine and, mounted from node 0, in the pod.
      const resultDir = join(volumeDir, `results-${namespace}`);
      await mkdir(resultDir, { recursive: true });
      await chmod(resultDir, 0o777);
      closers.push(() => rm(resultDir, { recursive: true, force: true }));

      const { manifest, baseDir } = await readManifest(manifestFile);
      manifest.spec.result.dir = resultDir;
      const pipelinesDir = join(dir, 'pipelines');
      const imageDir = join(pipelinesDir, manifest.metadata.name);
      await mkdir(imageDir, { recursive: true });
      const resolved = await resolvePipeline(manifest, { baseDir, stagesDir: join(dir, 'stages'), imageDir, revision: 0 });
      const sources: { key: string; source: Shard['source'] }[] = [];
      for await (const shard of splitInput(manifest.spec.input, { baseDir })) sources.push(shard);
      const sourceDirs = new Set(sources.flatMap(({ source }) => ('uri' in source ? [dirname(source.uri)] : [])));

      const image = await clusterScript(['image', `podline/${resolved.name}`, pipelinesDir]);
      await kubectl('create', 'namespace', namespace);
      closers.push(() => kubectl('delete', 'namespace', namespace, '--wait=false'));

      const token = randomBytes(24).toString('base64url');
      const pods = {
        namespace,
        image,
        coordinatorUrl: '', // known when the API listens, needed when the line starts
        tokenSecret: 'podline-lines',
        ssdHostPath: '/mnt/ssd',
        volume: { hostPath: '/mnt/volume' },
        hostFolders: [...[...sourceDirs].map((path) => ({ path, readOnly: true })), { path: resultDir, readOnly: false }],
        user: linesUser,
        logLevel: 'debug',
      };
      const driver = new KruiseDriver({
        kube: openKube({ namespace, kubeconfig, logger: silentLogger }),
        pods,
        token,
        slotsOf: (pipeline) => slotsOf(pipeline, availableParallelism()),
        logger: silentLogger,
        delay: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
        random: Math.random,
        nowMs: () => performance.now(),
      });
      closers.push(() => driver.stop());
      const journal = openLmdbJournal({ dir: join(dir, 'journal') });
      closers.push(() => journal.close());
      const coordinator = await createCoordinator({ journal, driver });
      closers.push(() => coordinator.close());
      const server = await startApiServer({ coordinator, token, host: machineIp });
      closers.push(() => server.close());
      pods.coordinatorUrl = server.url;

      const client = PodlineClient.local(coordinator);
      const pipeline = (await client.applyPipeline(resolved)).pipeline ?? resolved;
      const line = new PodLine(namespace, pipeline, coordinator, client, sources, resultDir);
      line.#closers.push(...closers);
      driver.subscribe((event) => line.events.push(event));
      await coordinator.startLines(pipeline.name, 1);
      return line;
    } catch (error) {
      await closeAll(closers);
      throw error;
    }
  }

  /** Takes the whole input through the line under keys of its own, and waits until it has ended. */
  async run(prefix: string): Promise<Shard[]> {
    const parameters = resolveParameters(this.pipeline.spec.parameters, {}, 'parameters');
    const submissions = this.sources.map(({ key, source }) => ({
      key: `${prefix}${key}`,
      source,
      parameters,
      resultDir: this.resultDir,
    }));
    const answers = await this.client.submitAll(this.pipeline.name, submissions);
    return Promise.all(
      answers.map((answer) => {
        if (answer.outcome === 'rejected') throw PodlineError.fromWire(answer.error);
        return this.client.waitFor(answer.id);
      }),
    );
  }

  /** What `podline run --json` would print of these shards. */
  summary(shards: readonly Shard[], elapsedMs: number): RunSummary {
    const builder = new SummaryBuilder();
    for (const shard of shards) builder.add(shard);
    const counts = { pending: 0, running: 0, completed: shards.length, failed: 0, cancelled: 0 };
    return builder.build({ pipeline: this.pipeline.name, workDir: '', reads: 'mmap', elapsedMs, interrupted: false, counts });
  }

  pod(): Promise<Pod> {
    return kubectlJson<Pod>('-n', this.namespace, 'get', 'pod', this.name);
  }

  /** Lines of the log of a container, as objects; from its first start, if it was never started again. */
  async log(container: string): Promise<Record<string, unknown>[]> {
    const text = await kubectl('-n', this.namespace, 'logs', this.name, '-c', container);
    return text.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as Record<string, unknown>] : []));
  }

  /** Runs JavaScript in the agent's container; returns what it printed. */
  evaluate(code: string): Promise<string> {
    return kubectl('-n', this.namespace, 'exec', this.name, '-c', 'agent', '--', 'node', '-e', code);
  }

  /** Ends the line and everything that was made for it, as far as it goes. */
  async close(): Promise<void> {
    await closeAll(this.#closers.splice(0));
  }
}

/** The last first, every one, then what went wrong. */
async function closeAll(closers: readonly (() => Promise<unknown>)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const close of [...closers].reverse()) await close().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw new AggregateError(failures, 'not everything could be closed');
}

export interface FollowedLog {
  /** The next line, from the last one on that was looked at, that fits. */
  next(fits: (entry: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>;
  close(): void;
}

/** The log of a container as it is written, from now on. */
export function followLog(line: PodLine, container: string): FollowedLog {
  const args = ['--kubeconfig', kubeconfig, '-n', line.namespace, 'logs', '-f', '--tail=0', line.name, '-c', container];
  const child = spawn('kubectl', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    next: async (fits) => {
      for (;;) {
        const { done, value } = await lines.next();
        if (done === true) throw new Error(`the log of ${container} ended before what was waited for`);
        if (!value.startsWith('{')) continue;
        const entry = JSON.parse(value) as Record<string, unknown>;
        if (fits(entry)) return entry;
      }
    },
    close: () => {
      child.kill();
    },
  };
}
