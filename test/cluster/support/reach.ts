/** How a Service of a cluster is reached: from its pods by an address that is known before it is installed, from this machine by a forwarded port. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { kubeconfig, kubectl, kubectlJson } from './cluster.js';

/** Makes namespace and Service, as yet without pods, where they are not there; answers the address that the cluster gave it. */
export async function serviceAddress(namespace: string, name: string): Promise<string> {
  await kubectl('create', 'namespace', namespace).catch(ignoreThere);
  const args = ['-n', namespace, 'create', 'service', 'clusterip', name, '--tcp=8080'];
  await kubectl(...args).catch(ignoreThere);
  // What is applied over it later says whose pods it leads to.
  const removal = [{ op: 'remove', path: '/spec/selector' }];
  await kubectl('-n', namespace, 'patch', 'service', name, '--type=json', '-p', JSON.stringify(removal));
  return (await kubectlJson<{ spec: { clusterIP: string } }>('-n', namespace, 'get', 'service', name)).spec.clusterIP;
}

function ignoreThere(error: unknown): string {
  if (String(error).includes('AlreadyExists')) return '';
  throw error;
}

export interface Forwarded {
  url: string;
  close(): Promise<void>;
}

/** Until `close`, or until the pod behind it ends. */
export async function forwardPort(namespace: string, target: string, port: number): Promise<Forwarded> {
  const args = ['--kubeconfig', kubeconfig, '-n', namespace, 'port-forward', target, `:${String(port)}`];
  const child = spawn('kubectl', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  const close = async (): Promise<void> => {
    child.kill();
    await exit;
  };
  for await (const line of createInterface({ input: child.stdout })) {
    const [, address] = /^Forwarding from (127\.0\.0\.1:\d+)/.exec(line) ?? [];
    if (address === undefined) continue;
    // Each connection is told of: somebody must read it.
    child.stdout.resume();
    return { url: `http://${address}`, close };
  }
  await exit;
  throw new Error(`no port was forwarded to ${target}`);
}
