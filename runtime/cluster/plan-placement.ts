/** Where the pods of a line may run: on which nodes, spread how, and for how long they wait for a node that is away. Pure. */
import type { Pipeline } from '../contracts/manifest.js';

/** A node that is away this long has lost its lines: what its memory holds is worth a short wait, and no more. */
export const nodeAwaySeconds = 30;

/** What the pipeline tolerates, and how long it waits for a node that is away; Kubernetes would wait five minutes. */
function tolerationsOf(given: NonNullable<Pipeline['spec']['placement']['tolerations']>): Record<string, unknown>[] {
  const away = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'];
  const isGiven = (key: string): boolean =>
    given.some((own) => (own.key ?? key) === key && (own.effect ?? 'NoExecute') === 'NoExecute');
  const waits = away
    .filter((key) => !isGiven(key))
    .map((key) => ({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: nodeAwaySeconds }));
  return [...given, ...waits];
}

/** A line that dies with its node takes few others with it where the group is spread over nodes. */
export function placementOf(
  placement: Pipeline['spec']['placement'],
  matchLabels: Record<string, string>,
): Record<string, unknown> {
  const { nodeSelector, tolerations = [], spread, nodesMin, priorityClass } = placement;
  const constraint = {
    maxSkew: 1,
    topologyKey: 'kubernetes.io/hostname',
    labelSelector: { matchLabels },
    ...(spread === 'require'
      ? { whenUnsatisfiable: 'DoNotSchedule', ...(nodesMin > 1 ? { minDomains: nodesMin } : {}) }
      : { whenUnsatisfiable: 'ScheduleAnyway' }),
  };
  return {
    ...(nodeSelector === undefined ? {} : { nodeSelector }),
    tolerations: tolerationsOf(tolerations),
    ...(priorityClass === undefined ? {} : { priorityClassName: priorityClass }),
    ...(spread === 'none' ? {} : { topologySpreadConstraints: [constraint] }),
  };
}
