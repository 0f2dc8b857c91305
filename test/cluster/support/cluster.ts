/** The test cluster as tests see it: its addresses, its scripts, and waiting for what happens in it. */
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packageRoot } from '../../../runtime/platform/entries.js';
import { existingCluster } from '../../support/existing-cluster.js';

const run = promisify(execFile);
export const clusterScriptPath = join(packageRoot, 'test', 'cluster', 'cluster.sh');

/** Where pods reach this machine: what a test listens on. */
export const machineIp = '10.88.0.1';
export const stateDir = process.env['PODLINE_CLUSTER_STATE'] ?? '/tmp/podline-cluster';
export const kubeconfig = existingCluster?.kubeconfig ?? join(stateDir, 'admin.kubeconfig');
/** The folder on this machine that is `/mnt/volume` on every node. */
export const volumeDir = join(stateDir, 'volume');
/** The folder on this machine that is `/mnt/ssd` on one node. */
export const ssdDir = (node: number): string => join(stateDir, 'nodes', String(node), 'ssd');

interface AuditEvent {
  verb: string;
  requestURI: string;
}

/** What the coordinator has written to the API server since that one began, as `verb path`: reviews of tokens and rights aside, which change nothing. */
export async function coordinatorWrites(): Promise<string[]> {
  const text = await readFile(join(stateDir, 'log', 'audit.log'), 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '' && !/(token|subjectaccess)reviews/.test(line))
    .map((line) => JSON.parse(line) as AuditEvent)
    .map(({ verb, requestURI }) => `${verb} ${requestURI.replace(/\?.*/, '')}`);
}

/** CPU time that the coordinator's process on this machine has used, ms. */
export async function coordinatorCpuMs(): Promise<number> {
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (!command.includes('\0/podline/dist/runtime/serve/main.js')) continue;
    // Behind the name, which may have spaces: user and system time are the 14th and 15th field, in hundredths of a second.
    const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /, '').split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }
  throw new Error('there is no coordinator on this machine');
}

/** Runs `cluster.sh`; returns what it printed. Throws with its words when it fails. */
export async function clusterScript(args: string[], environment: Record<string, string> = {}): Promise<string> {
  const { stdout } = await run(clusterScriptPath, args, {
    env: { ...process.env, ...environment },
    maxBuffer: 16 * 1024 * 1024,
  });
  return stdout.trim();
}

export async function kubectl(...args: string[]): Promise<string> {
  const { stdout } = await run('kubectl', ['--kubeconfig', kubeconfig, ...args], { maxBuffer: 16 * 1024 * 1024 });
  return stdout.trim();
}

export const kubectlJson = async <T>(...args: string[]): Promise<T> => JSON.parse(await kubectl(...args, '-o', 'json')) as T;

/** The part of a pod that tests look at. */
export interface Pod {
  metadata: { uid: string; name: string; annotations?: Record<string, string> };
  spec: { nodeName?: string; containers: { name: string; image: string }[] };
  status: {
    phase: string;
    podIP?: string;
    containerStatuses?: {
      name: string;
      restartCount: number;
      containerID?: string;
      state?: { waiting?: { reason?: string } };
      lastState?: { terminated?: { reason?: string; exitCode: number } };
    }[];
  };
}

/** Looks again until `look` gives something, and says what it last saw when it never does. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
  limitMs = 60_000,
): Promise<T> {
  const endMs = performance.now() + limitMs;
  let last: unknown = 'nothing';
  for (;;) {
    try {
      const seen = await look();
      if (seen !== undefined) return seen;
    } catch (error) {
      last = error;
    }
    if (performance.now() > endMs) throw new Error(`${what} did not come in ${String(limitMs)} ms; last: ${String(last)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
