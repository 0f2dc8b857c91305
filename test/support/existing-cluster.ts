/**
 * A cluster that exists, in the place of the test cluster: what `PODLINE_TEST_…` say of it. It has no script, and its nodes are not this
 * machine's: tests ask its API server alone.
 */
import { accessSync, constants } from 'node:fs';

export interface ExistingCluster {
  kubeconfig: string;
  /** Of `examples/flights/Dockerfile`, by digest, as the cluster's nodes pull it. */
  image: string;
  /** Over `cluster.lines` of the coordinator's configuration: its folders and claims. JSON. */
  lines: string;
}

const { PODLINE_TEST_KUBECONFIG: kubeconfig, PODLINE_TEST_IMAGE: image, PODLINE_TEST_LINES: lines } = process.env;

export const existingCluster: ExistingCluster | undefined =
  kubeconfig === undefined || kubeconfig === '' ? undefined : { kubeconfig, image: image ?? '', lines: lines ?? '{}' };

/** Why tests cannot use it, and the way out; `undefined` when they can. */
export function whyUnusable({ kubeconfig, image, lines }: ExistingCluster): string | undefined {
  try {
    accessSync(kubeconfig, constants.R_OK);
    JSON.parse(lines);
  } catch (error) {
    return `PODLINE_TEST_KUBECONFIG or PODLINE_TEST_LINES cannot be read: ${String(error)}`;
  }
  if (/.@sha256:[0-9a-f]{64}$/.test(image)) return undefined;
  return 'PODLINE_TEST_IMAGE names no image by digest: build examples/flights/Dockerfile, push it to where the cluster pulls, name it there';
}
