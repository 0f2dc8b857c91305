/** The objects of a small pipeline, as the coordinator's plan makes them: `openkruise/objects.yaml`. */
import { stringify } from 'yaml';
import { planObjects, groupLinesOf } from '../dist/runtime/cluster/plan-objects.js';
import { resolveResource } from '../dist/runtime/cluster/resolve.js';
import { pipelineSchema } from '../dist/runtime/contracts/manifest.js';
import { slotsOf } from '../dist/runtime/line/concurrency.js';

const digest = `sha256:${'0'.repeat(64)}`;
const image = `registry.example/podline/runtime@${digest}`;

export function exampleObjects() {
  const manifest = pipelineSchema.parse({
    apiVersion: 'podline.dev/v1alpha1',
    kind: 'Pipeline',
    metadata: { name: 'flights' },
    spec: {
      lines: 3,
      scratch: { size: '2Gi' },
      resources: { cpu: 2 },
      groups: [{ name: 'urgent', match: { key: 'urgent-*' }, minLines: 1 }],
      placement: { spread: 'require', nodesMin: 2 },
      stages: [
        { name: 'clean', command: ['clean'], resources: { memory: '1Gi', cpu: 1 } },
        {
          name: 'score',
          command: ['score'],
          after: ['clean'],
          image: `registry.example/score:1.4@${digest}`,
          resources: { memory: '3Gi', cpu: 1 },
        },
      ],
    },
  });
  const pipeline = resolveResource(manifest, {
    name: 'flights',
    defaultImage: image,
    stages: new Map(),
    resultRoot: '/podline-volume/results',
  });
  return planObjects(
    { ...pipeline, spec: { ...pipeline.spec, placement: manifest.spec.placement } },
    {
      name: 'flights',
      namespace: 'podline',
      groups: groupLinesOf(manifest.spec),
      slots: slotsOf(pipeline, 2),
      cores: 2,
      image,
      coordinatorUrl: 'http://podline-coordinator.podline.svc:8080',
      credentials: { audience: 'podline.podline.dev' },
      ssdHostPath: '/mnt/podline-ssd',
      volume: { claim: 'podline-volume' },
      user: 10001,
      workload: 'kruise',
      owner: { name: 'flights', uid: '00000000-0000-0000-0000-000000000000' },
    },
  );
}

export const objectsDocument = (objects) =>
  `# What becomes of a small pipeline in a cluster. Made from runtime/cluster by \`npm run generate\`; do not edit.\n${objects
    .map((object) => stringify(object, { lineWidth: 0, aliasDuplicateObjects: false, version: '1.1' }))
    .join('---\n')}`;
