/**
 * Lines of pods whose agent and shim are stand-ins (`../probe`): each start of a container is written down in the pod's memory, and the
 * agent shows it. For what the swap driver does on a real API server, OpenKruise and kubelet, with nothing else about it.
 *
 * Owns a namespace and the driver; `close` ends both.
 */
import { join } from 'node:path';
import { KruiseDriver } from '../../../runtime/cluster/kruise-driver.js';
import { openKube } from '../../../runtime/cluster/kube.js';
import type { DriverEvent, SwapOrder } from '../../../runtime/contracts/driver.js';
import { pipelineSchema, type Pipeline } from '../../../runtime/contracts/manifest.js';
import { packageRoot } from '../../../runtime/platform/entries.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { clusterScript, eventually, kubeconfig, kubectl, kubectlJson, machineIp, type Pod } from './cluster.js';

/** A container of a slot that was started. */
export interface Start {
  slot: number;
  stage: string;
  step: string;
  atMs: number;
}

const name = 'probe';
const podMs = 120_000;

export class ProbeLines {
  /** What the driver has told. */
  readonly events: DriverEvent[] = [];

  private constructor(
    readonly namespace: string,
    readonly pipeline: Pipeline,
    readonly driver: KruiseDriver,
  ) {
    driver.subscribe((event) => this.events.push(event));
  }

  /** So many lines, whose agents answer. Each has two slots, into which these stages go. */
  static async start(namespace: string, lines: number, stages: readonly Record<string, unknown>[]): Promise<ProbeLines> {
    const { spec } = pipelineSchema.parse({
      apiVersion: 'podline.dev/v1alpha1',
      kind: 'Pipeline',
      metadata: { name },
      spec: { scratch: { size: '64Mi' }, stages },
    });
    const resolved = spec.stages.map((stage) => ({ ...stage, after: ['input'], version: 'v' }));
    const pipeline: Pipeline = { name, revision: 1, spec, stages: resolved, baseDir: '/' };
    await kubectl('create', 'namespace', namespace);
    const probes = new ProbeLines(namespace, pipeline, await openDriver(namespace));
    try {
      await probes.driver.start(pipeline, lines);
      for (const line of probes.lines(lines)) await probes.ready(line);
      return probes;
    } catch (error) {
      await probes.close();
      throw error;
    }
  }

  lines(count: number): string[] {
    return Array.from({ length: count }, (_, line) => `${name}-${String(line)}`);
  }

  pod(line: string): Promise<Pod> {
    return kubectlJson<Pod>('-n', this.namespace, 'get', 'pod', line);
  }

  /** Its pod, another one than `notUid`, once its agent answers. */
  ready(line: string, notUid?: string): Promise<Pod> {
    return eventually(
      `the agent of ${line}`,
      async () => {
        const pod = await this.pod(line);
        if (pod.metadata.uid === notUid || pod.status.podIP === undefined) return undefined;
        await this.starts(pod);
        return pod;
      },
      podMs,
    );
  }

  /** In their order. */
  async starts(pod: Pod): Promise<Start[]> {
    const answer = await ask(pod, '/');
    // Nothing has started yet.
    if (answer.status === 404) return [];
    return (await answer.text()).split('\n').flatMap((text) => (text === '' ? [] : [JSON.parse(text) as Start]));
  }

  /** Of its agent. */
  async environment(pod: Pod): Promise<Record<string, string>> {
    return (await (await ask(pod, '/env')).json()) as Record<string, string>;
  }

  /** Resolves when the API server has taken the patch. */
  swap(line: string, { slot, stage, step }: Pick<SwapOrder, 'slot' | 'stage' | 'step'>): Promise<void> {
    return this.driver.swap({ line, pipeline: this.pipeline, slot, stage, step });
  }

  started(pod: Pod, step: string): Promise<Start> {
    return eventually(`the start of ${step} in ${pod.metadata.name}`, async () =>
      (await this.starts(pod)).find((start) => start.step === step),
    );
  }

  /** Why the step did not come. */
  failed(step: string): Promise<DriverEvent & { type: 'swapFailed' }> {
    return eventually(`the failure of ${step}`, () =>
      this.events.find(
        (event): event is DriverEvent & { type: 'swapFailed' } => event.type === 'swapFailed' && event.step === step,
      ),
    );
  }

  /** Whatever is no plain start of a line. */
  get troubles(): DriverEvent[] {
    return this.events.filter(({ type }) => type === 'slotEnded' || type === 'swapFailed' || type === 'lineEnded');
  }

  async close(): Promise<void> {
    await this.driver.stop();
    await kubectl('delete', 'namespace', this.namespace, '--wait=false');
  }
}

const ask = (pod: Pod, path: string): Promise<Response> => fetch(`http://${pod.status.podIP ?? ''}:7070${path}`);

async function openDriver(namespace: string): Promise<KruiseDriver> {
  const image = await clusterScript(['image', 'podline/probe'], {
    PODLINE_IMAGE_DIST: join(packageRoot, 'test', 'cluster', 'probe'),
  });
  return new KruiseDriver({
    kube: openKube({ namespace, kubeconfig, logger: silentLogger }),
    pods: {
      namespace,
      image,
      coordinatorUrl: `http://${machineIp}:7000`,
      tokenSecret: 'podline-lines',
      ssdHostPath: '/mnt/ssd',
      volume: { hostPath: '/mnt/volume' },
      user: 10_001,
    },
    token: 'a-token',
    slotsOf: () => 2,
    logger: silentLogger,
    delay: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    random: Math.random,
    nowMs: () => performance.now(),
  });
}
