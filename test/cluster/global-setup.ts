/**
 * Brings the test cluster up before the first test of the project and takes it down behind the last, unless it was up before
 * or PODLINE_CLUSTER_KEEP=1. Where the machine cannot run it, or PODLINE_TEST_KUBECONFIG names another one, nothing happens: the tests
 * themselves say so.
 *
 * The cluster is taken down by a process of its own that waits for the end of this one, so that it goes however this one ends.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { missing } from '../support/require.js';
import { clusterScript, clusterScriptPath } from './support/cluster.js';

export default async function setup(): Promise<() => Promise<void>> {
  if (missing('cluster') !== undefined) return () => Promise.resolve();
  const wasUp = await clusterScript(['status']).then(
    () => true,
    () => false,
  );
  const takeDown = wasUp || process.env['PODLINE_CLUSTER_KEEP'] === '1' ? () => Promise.resolve() : guard();
  try {
    const up = promisify(execFile)(clusterScriptPath, ['up']);
    // A cluster that other scripts have made is brought up anew, and who waits should know why.
    up.child.stderr?.pipe(process.stderr, { end: false });
    await up;
  } catch (error) {
    await takeDown();
    throw error;
  }
  return takeDown;
}

/** Starts the process that takes the cluster down when its stdin ends; returns what ends it, and waits until it is done. */
function guard(): () => Promise<void> {
  const child = spawn('sh', ['-c', 'cat > /dev/null; exec "$0" down', clusterScriptPath], {
    // Of its own process group: Ctrl-C and the time limit of a whole run are not for it.
    detached: true,
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  const exit = once(child, 'exit') as Promise<[number | null]>;
  return async () => {
    child.stdin.end();
    const [code] = await exit;
    if (code !== 0) throw new Error(`the cluster was not taken down: exit code ${String(code)}`);
  };
}
