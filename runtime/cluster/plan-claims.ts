/**
 * Claims of storage: one for all lines of a pipeline, and one for each line. Pure.
 *
 * What lies on the volume is the user's: results, and what a later pipeline of that name goes on from. So its claim belongs to nobody and stays
 * when the pipeline goes. What lies on an SSD saves work and nothing else: its claim goes with its line.
 */
import type { KubeObject } from './kube-rest.js';
import { apiVersionOf } from './resources.js';

/** `storageClass` absent: the cluster's default. `size`: a quantity, as `10Gi`. */
export interface ClaimStorage {
  storageClass?: string | undefined;
  size: string;
}

/** The name of the volume in a pod, and with the pod's behind it that of the line's claim. */
export const ssdVolume = 'ssd';
export const ssdClaimOf = (pod: string): string => `${ssdVolume}-${pod}`;

export const volumeClaimOf = (pipeline: string): string => `${pipeline}-volume`;

/** One volume for all lines of a pipeline, on whatever nodes: major checkpoints and results. */
export const planVolumeClaim = (pipeline: string, storage: ClaimStorage): KubeObject => ({
  apiVersion: apiVersionOf('PersistentVolumeClaim'),
  kind: 'PersistentVolumeClaim',
  metadata: { name: volumeClaimOf(pipeline) },
  spec: claimSpec(storage, 'ReadWriteMany'),
});

/** What a StatefulSet says of the claims of its lines. A line that is scaled away has nothing left there that is needed. */
export const planSsdClaim = (storage: ClaimStorage): Record<string, unknown> => ({
  persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Delete', whenScaled: 'Delete' },
  volumeClaimTemplates: [
    {
      apiVersion: apiVersionOf('PersistentVolumeClaim'),
      kind: 'PersistentVolumeClaim',
      metadata: { name: ssdVolume },
      spec: claimSpec(storage, 'ReadWriteOnce'),
    },
  ],
});

const claimSpec = ({ storageClass, size }: ClaimStorage, accessMode: string): Record<string, unknown> => ({
  accessModes: [accessMode],
  resources: { requests: { storage: size } },
  ...(storageClass === undefined ? {} : { storageClassName: storageClass }),
  volumeMode: 'Filesystem',
});
