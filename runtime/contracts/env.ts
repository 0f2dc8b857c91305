/** Names of environment variables: the contract with whoever starts a process of Podline, be it a pod template or the local driver. */
export const env = {
  /** Agent: address of the coordinator, `http://host:port`. */
  coordinatorUrl: 'PODLINE_COORDINATOR_URL',
  /** Coordinator: file of its configuration; single settings are in `contracts/server-config.ts`. */
  config: 'PODLINE_CONFIG',
  /** Agent, CLI: bearer token, or a file that holds it. */
  token: 'PODLINE_TOKEN',
  tokenFile: 'PODLINE_TOKEN_FILE',
  /** Agent: stable name of the line, e.g. the pod's. */
  line: 'PODLINE_LINE',
  pipeline: 'PODLINE_PIPELINE',
  /** Agent: the group whose shards the line works on; absent: `default`. */
  group: 'PODLINE_GROUP',
  /** Agent: pod uid; absent on a laptop. */
  instance: 'PODLINE_INSTANCE',
  node: 'PODLINE_NODE',
  slots: 'PODLINE_SLOTS',
  /** Agent and shim: unix socket of the agent. */
  socket: 'PODLINE_SOCKET',
  /** Agent and shim: folder of the scratch. */
  scratchDir: 'PODLINE_SCRATCH_DIR',
  /** Agent: what the scratch's folder lies on, `memory` or `ssd`. */
  scratchMedium: 'PODLINE_SCRATCH_MEDIUM',
  /** Agent: folder that stands for the node's SSD, and for the volume. */
  ssdDir: 'PODLINE_SSD_DIR',
  volumeDir: 'PODLINE_VOLUME_DIR',
  /** Shim: which slot this is, which stage was put into it, by which step. */
  slot: 'PODLINE_SLOT',
  stage: 'PODLINE_STAGE',
  step: 'PODLINE_STEP',
  /** Shim: folder of the bundled stages, for relative module paths. */
  stagesDir: 'PODLINE_STAGES_DIR',
  /**
   * `static`: commands run under the static shim on a laptop too; and that shim stays what it is where the image carries the Node shim.
   */
  shim: 'PODLINE_SHIM',
  /** Set by the local driver: the process ends when its stdin does, so that nothing outlives the coordinator. */
  lifeline: 'PODLINE_LIFELINE',
  logLevel: 'PODLINE_LOG_LEVEL',
  /** `off`: read by pread although the native memory map is there. */
  mmap: 'PODLINE_MMAP',
  /** A command stage finds these. */
  inputDir: 'PODLINE_INPUT_DIR',
  outputDir: 'PODLINE_OUTPUT_DIR',
  parameters: 'PODLINE_PARAMETERS',
  shardKey: 'PODLINE_SHARD_KEY',
  /** The same as TRACEPARENT, which many tools look at; TRACESTATE beside it. */
  traceparent: 'PODLINE_TRACEPARENT',
  /** In a command: by which it is found and ended when its shim died while starting it. */
  guard: 'PODLINE_GUARD',
} as const;
