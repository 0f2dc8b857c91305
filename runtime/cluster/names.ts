/** Labels, annotations, container names and paths of a line's pod: what planner, driver and manifests must agree on. */

export const labels = {
  app: 'app.kubernetes.io/name',
  managedBy: 'app.kubernetes.io/managed-by',
  pipeline: 'podline.dev/pipeline',
  group: 'podline.dev/group',
} as const;

/** Readiness gate of a line's pod: its agent is there. */
export const gateType = 'podline.dev/line';

/** What a slot's container finds in PODLINE_STAGE and PODLINE_STEP: the kubelet reads them anew at each start of the container. */
export const stageAnnotation = (slot: number): string => `podline.dev/slot-${String(slot)}.stage`;
export const stepAnnotation = (slot: number): string => `podline.dev/slot-${String(slot)}.step`;

/** ConfigMap of a namespace with lines: the authority of the coordinator's certificate. */
export const authorityName = 'podline-authority';

/** For whom the tokens of lines are made: the coordinator of that namespace. */
export const lineAudience = (namespace: string): string => `${namespace}.podline.dev`;

export const agentContainer = 'agent';
export const slotContainer = (slot: number): string => `slot-${String(slot)}`;

/** Mount points inside the containers, the same in agent and slots. */
export const podPaths = {
  scratch: '/podline-scratch',
  run: '/podline-run',
  socket: '/podline-run/agent.sock',
  ssd: '/podline-ssd',
  volume: '/podline-volume',
  temporary: '/tmp',
  /** The agent's: its token, and whom it trusts. */
  credentials: '/podline-credentials',
  /** The static shim: the command of every slot. */
  shim: '/podline-shim/podline-shim',
} as const;

/** Where an image that carries a pipeline's stages has them: what `podline build` writes as `pipelines/<name>`. */
export const imageStagesDir = (pipeline: string): string => `/podline/pipelines/${pipeline}`;

/** Whether an agent is one of a pod: it calls itself by the uid of its pod (`PODLINE_INSTANCE`), a dot, and what is its process's own. */
export const isAgentOf = (instance: string, podUid: string): boolean => instance.startsWith(`${podUid}.`);
