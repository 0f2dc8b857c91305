import { describe, expect, it } from 'vitest';
import { planLines, planService, type LinePodOptions } from '../../../runtime/cluster/plan-pod.js';
import type { Pipeline } from '../../../runtime/contracts/manifest.js';
import { pipelineSchema } from '../../../runtime/contracts/manifest.js';

const image = `registry.local:5000/podline/flights@sha256:${'0'.repeat(64)}`;
const options: LinePodOptions = {
  namespace: 'lines',
  name: 'flights',
  lines: 3,
  slots: 2,
  image,
  coordinatorUrl: 'http://10.88.0.1:7000',
  credentials: { audience: 'podline.podline.dev' },
  ssdHostPath: '/mnt/ssd',
  volume: { claim: 'checkpoints' },
  user: 10_001,
};

function pipeline(spec: Record<string, unknown> = {}): Pipeline {
  const manifest = pipelineSchema.parse({
    apiVersion: 'podline.dev/v1alpha1',
    kind: 'Pipeline',
    metadata: { name: 'flights' },
    spec: { stages: [{ name: 'clean', uses: './clean.ts', resources: { memory: '1Gi' } }], scratch: { size: '2Gi' }, ...spec },
  });
  const stages = manifest.spec.stages.map((stage) => ({ ...stage, after: stage.after ?? ['input'], version: 'v' }));
  return { name: 'flights', revision: 1, spec: manifest.spec, stages, baseDir: '/' };
}

interface Container {
  name: string;
  image: string;
  command: string[];
  imagePullPolicy: string;
  env: { name: string; value?: string; valueFrom?: { fieldRef?: { fieldPath: string }; secretKeyRef?: unknown } }[];
  resources: { limits: { memory: string }; requests: { memory: string } };
  securityContext: Record<string, unknown>;
  volumeMounts: { name: string; mountPath: string; readOnly?: boolean }[];
}
interface Planned {
  spec: {
    replicas: number;
    podManagementPolicy: string;
    updateStrategy: unknown;
    template: {
      metadata: { annotations: Record<string, string>; labels: Record<string, string> };
      spec: {
        initContainers: Container[];
        containers: Container[];
        volumes: Record<string, unknown>[];
        shareProcessNamespace: boolean;
        automountServiceAccountToken: boolean;
        securityContext: Record<string, unknown>;
      };
    };
  };
}
const plan = (spec: Record<string, unknown> = {}, more: Partial<LinePodOptions> = {}) =>
  (planLines(pipeline(spec), { ...options, ...more }) as unknown as Planned).spec;
const podSpec = (spec: Record<string, unknown> = {}, more: Partial<LinePodOptions> = {}) => plan(spec, more).template.spec;
const variables = (container: Container | undefined) =>
  Object.fromEntries((container?.env ?? []).map((entry) => [entry.name, entry.value ?? entry.valueFrom]));

describe('the pods of a pipeline', () => {
  it('are as many as its lines, made side by side, and never created anew by an edit', () => {
    expect(plan()).toMatchObject({ replicas: 3, podManagementPolicy: 'Parallel', updateStrategy: { type: 'OnDelete' } });
  });

  it('hold an agent and one container per slot, all of the image by digest', () => {
    const { containers, shareProcessNamespace } = podSpec();
    expect(containers.map(({ name }) => name)).toEqual(['agent', 'slot-0', 'slot-1']);
    expect(new Set(containers.map((one) => one.image))).toEqual(new Set([image]));
    expect(containers.every(({ imagePullPolicy }) => imagePullPolicy === 'IfNotPresent')).toBe(true);
    expect(shareProcessNamespace).toBe(true);
  });

  it('start with empty slots, whose stage and step come from annotations', () => {
    const { annotations } = plan().template.metadata;
    expect(annotations).toEqual({
      'podline.dev/slot-0.stage': '',
      'podline.dev/slot-0.step': '',
      'podline.dev/slot-1.stage': '',
      'podline.dev/slot-1.step': '',
    });
    expect(variables(podSpec().containers[2])).toMatchObject({
      PODLINE_SLOT: '1',
      PODLINE_STAGE: { fieldRef: { fieldPath: "metadata.annotations['podline.dev/slot-1.stage']" } },
      PODLINE_STEP: { fieldRef: { fieldPath: "metadata.annotations['podline.dev/slot-1.step']" } },
    });
  });

  it('give only the agent a token, which is the pod’s own and for the coordinator alone', () => {
    const { containers, automountServiceAccountToken, volumes } = podSpec();
    expect(automountServiceAccountToken).toBe(false);
    const seeing = containers.filter(({ volumeMounts }) => volumeMounts.some(({ name }) => name === 'credentials'));
    expect(seeing.map(({ name }) => name)).toEqual(['agent']);
    expect(variables(containers[0])).toMatchObject({ PODLINE_TOKEN_FILE: '/podline-credentials/token' });
    const token = { audience: 'podline.podline.dev', expirationSeconds: 3_600, path: 'token' };
    expect(volumes).toContainEqual({
      name: 'credentials',
      projected: { defaultMode: 0o400, sources: [{ serviceAccountToken: token }] },
    });
  });

  it('have the agent trust the authority that the installation names', () => {
    const { containers, volumes } = podSpec({}, { credentials: { audience: 'a', authority: 'podline-authority' } });
    expect(variables(containers[0])).toMatchObject({ NODE_EXTRA_CA_CERTS: '/podline-credentials/ca.crt' });
    expect(JSON.stringify(volumes)).toContain(
      '{"configMap":{"name":"podline-authority","items":[{"key":"ca.crt","path":"ca.crt"}]}}',
    );
  });

  it('have the agent find what the installation adds to its environment, and no stage', () => {
    const { containers } = podSpec({}, { agentVariables: { OTEL_TRACES_SAMPLER: 'always_on' } });
    const seeing = containers.filter((of) => variables(of)['OTEL_TRACES_SAMPLER'] === 'always_on');
    expect(seeing.map(({ name }) => name)).toEqual(['agent']);
  });

  it('limit each container by what it may write to the tmpfs and what it needs itself', () => {
    const [agent, slot] = podSpec().containers;
    expect(slot?.resources).toEqual({ requests: { memory: '1024Mi' }, limits: { memory: `${String(1024 + 2048 + 128)}Mi` } });
    expect(agent?.resources.limits.memory).toBe(`${String(512 + 2048 + 128)}Mi`);
    expect(podSpec().volumes[0]).toEqual({ name: 'scratch', emptyDir: { medium: 'Memory', sizeLimit: '2176Mi' } });
  });

  it('keep the scratch on disk when the manifest says SSD, and no limit counts it', () => {
    const planned = podSpec({ scratch: { medium: 'SSD', size: '2Gi' } });
    expect(planned.volumes[0]).toEqual({ name: 'scratch', emptyDir: { sizeLimit: '2176Mi' } });
    expect(planned.containers[1]?.resources.limits.memory).toBe('1024Mi');
    expect(variables(planned.containers[0])['PODLINE_SCRATCH_MEDIUM']).toBe('ssd');
  });

  it('run without privileges on a root file system that cannot be written', () => {
    const { containers, securityContext } = podSpec();
    expect(securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 10_001, fsGroup: 10_001 });
    for (const one of containers) {
      expect(one.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
    }
  });

  it('mount every volume that is declared, and declare every volume that is mounted', () => {
    const { initContainers, containers, volumes } = podSpec({}, { hostFolders: [{ path: '/data/in', readOnly: true }] });
    const mounted = new Set(
      [...initContainers, ...containers].flatMap(({ volumeMounts }) => volumeMounts.map(({ name }) => name)),
    );
    expect(mounted).toEqual(new Set(volumes.map(({ name }) => name as string)));
    expect(containers[0]?.volumeMounts).toContainEqual({ name: 'folder-0', mountPath: '/data/in', readOnly: true });
    expect(containers[1]?.volumeMounts.map(({ name }) => name)).not.toContain('folder-0');
  });

  it('run the static shim in every slot, from a volume onto which an init container has put it, whatever image comes', () => {
    const { initContainers, containers } = podSpec();
    const [install] = initContainers;
    const path = install?.command.at(-1) ?? '';
    expect(install?.command.slice(0, -1)).toEqual(['/podline/bin/podline-shim', 'install']);
    expect(install?.image).toBe(image);
    for (const slot of containers.slice(1)) {
      expect(slot.command).toEqual([path]);
      const mount = slot.volumeMounts.find(({ mountPath }) => path.startsWith(`${mountPath}/`));
      expect(mount).toMatchObject({ readOnly: true });
      expect(install?.volumeMounts.map(({ name }) => name)).toEqual([mount?.name]);
      expect(variables(slot)['PODLINE_STAGES_DIR']).toBe('/podline/pipelines/flights');
    }
  });

  it('are refused with an image that is not pinned', () => {
    expect(() => plan({}, { image: 'podline/flights:latest' })).toThrow(/`podline\/flights:latest` of the lines is not pinned/);
  });

  it('have a service that gives each a name, ready or not', () => {
    expect(planService(options)).toMatchObject({
      metadata: { name: 'flights', namespace: 'lines' },
      spec: { clusterIP: 'None', publishNotReadyAddresses: true, selector: { 'podline.dev/pipeline': 'flights' } },
    });
    expect(plan().template.metadata.labels).toMatchObject({
      'app.kubernetes.io/name': 'podline-line',
      'podline.dev/pipeline': 'flights',
    });
  });
});
