/**
 * Brings the test cluster up before the first test of the project and takes it down behind the last, unless it was up before
 * or PODLINE_CLUSTER_KEEP=1. Where the machine cannot run it, nothing happens: the tests themselves say so.
 */
import { missing } from '../support/require.js';
import { clusterScript } from './support/cluster.js';

export default async function setup(): Promise<() => Promise<void>> {
  if (missing('cluster') !== undefined) return () => Promise.resolve();
  const wasUp = await clusterScript(['status']).then(
    () => true,
    () => false,
  );
  try {
    await clusterScript(['up']);
  } catch (error) {
    // What came up half-way must not stay.
    if (!wasUp) await clusterScript(['down']);
    throw error;
  }
  return async () => {
    if (!wasUp && process.env['PODLINE_CLUSTER_KEEP'] !== '1') await clusterScript(['down']);
  };
}
