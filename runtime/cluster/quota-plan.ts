/**
 * ResourceQuota and LimitRange in the words of `line/quota.ts`: what one pod of lines costs, what a quota leaves to all of them. Pure.
 *
 * Resources are named as quotas name them: `requests.cpu`, `limits.memory`, `requests.nvidia.com/gpu`, `pods`; their short forms `cpu` and
 * `memory` mean requests.
 */
import type { Amount, Amounts, LineCost, Quota } from '../contracts/capacity.js';
import { addAmounts, formatAmount, parseAmount, parseAmounts, timesAmounts } from '../line/quantity.js';

type Quantities = Record<string, string | number>;

export interface PodContainer {
  name?: string | undefined;
  resources?: { requests?: Quantities | undefined; limits?: Quantities | undefined } | undefined;
}
export interface PodSpec {
  containers: readonly PodContainer[];
  initContainers?: readonly (PodContainer & { restartPolicy?: string | undefined })[] | undefined;
  overhead?: Quantities | undefined;
  priorityClassName?: string | undefined;
}
export interface LimitRange {
  metadata: { name: string };
  spec: {
    limits: readonly {
      type: string;
      max?: Quantities | undefined;
      min?: Quantities | undefined;
      default?: Quantities | undefined;
      defaultRequest?: Quantities | undefined;
    }[];
  };
}
export interface ResourceQuota {
  metadata: { name: string };
  spec?: {
    hard?: Quantities | undefined;
    scopes?: readonly string[] | undefined;
    scopeSelector?: { matchExpressions?: readonly ScopeExpression[] | undefined } | undefined;
  };
  status?: { hard?: Quantities | undefined; used?: Quantities | undefined } | undefined;
}
interface ScopeExpression {
  scopeName: string;
  operator: string;
  values?: readonly string[] | undefined;
}

/** What a pod takes of quotas, with what the namespace's LimitRanges put where it says nothing; and which of them refuse it. */
export function lineCostOf(pod: PodSpec, ranges: readonly LimitRange[], quotas: readonly ResourceQuota[]): LineCost {
  const of = (kind: 'requests' | 'limits'): Amounts => podAmounts(pod, (container) => amountsOf(container, ranges)[kind]);
  const [requests, limits] = [of('requests'), of('limits')];
  const perLine: Record<string, Amount> = { pods: parseAmount(1), 'count/pods': parseAmount(1) };
  // A pipeline's own quota has the short names.
  for (const [resource, amount] of Object.entries(requests)) perLine[resource] = perLine[`requests.${resource}`] = amount;
  for (const [resource, amount] of Object.entries(limits)) perLine[`limits.${resource}`] = amount;
  return { perLine, refusals: [...rangeRefusals(pod, requests, limits, ranges), ...missingRefusals(pod, ranges, quotas)] };
}

/** The sum of the containers, or the largest init container where that is more; sidecars among these count with the containers. */
function podAmounts(pod: PodSpec, of: (container: PodContainer) => Amounts): Amounts {
  const init = pod.initContainers ?? [];
  const running = [...pod.containers, ...init.filter(({ restartPolicy }) => restartPolicy === 'Always')];
  const sum: Record<string, Amount> = { ...running.map(of).reduce(addAmounts, {}) };
  for (const container of init.filter(({ restartPolicy }) => restartPolicy !== 'Always'))
    for (const [resource, amount] of Object.entries(of(container))) sum[resource] = larger(sum[resource] ?? 0n, amount);
  return addAmounts(sum, parseAmounts(pod.overhead ?? {}));
}

const larger = (a: Amount, b: Amount): Amount => (a > b ? a : b);

/** As the LimitRanger admission does it: a default limit, then a default request, then the limit as request. */
function amountsOf({ resources = {} }: PodContainer, ranges: readonly LimitRange[]): { requests: Amounts; limits: Amounts } {
  const items = ranges.flatMap(({ spec }) => spec.limits.filter(({ type }) => type === 'Container'));
  const limits: Quantities = { ...resources.limits };
  const requests: Quantities = { ...limits, ...resources.requests };
  for (const item of items) {
    for (const [resource, quantity] of Object.entries(item.defaultRequest ?? {})) requests[resource] ??= quantity;
    for (const [resource, quantity] of Object.entries(item.default ?? {})) limits[resource] ??= quantity;
  }
  for (const [resource, quantity] of Object.entries(limits)) requests[resource] ??= quantity;
  return { requests: parseAmounts(requests), limits: parseAmounts(limits) };
}

function rangeRefusals(pod: PodSpec, requests: Amounts, limits: Amounts, ranges: readonly LimitRange[]): string[] {
  const sizes = [
    { type: 'Pod', what: 'a pod', amounts: { requests, limits } },
    ...pod.containers.map((container) => ({ type: 'Container', what: 'a container', amounts: amountsOf(container, ranges) })),
  ];
  return ranges.flatMap(({ metadata, spec }) =>
    spec.limits.flatMap(({ type, max = {}, min = {} }) =>
      sizes
        .filter((size) => size.type === type)
        .flatMap(({ what, amounts }) => [
          ...Object.entries(parseAmounts(max)).flatMap(([resource, most]) => {
            const has = amounts.limits[resource] ?? amounts.requests[resource];
            return has === undefined || has <= most ? [] : [refusal(metadata.name, what, resource, 'at most', most, has)];
          }),
          ...Object.entries(parseAmounts(min)).flatMap(([resource, least]) => {
            const has = amounts.requests[resource];
            return has === undefined || has >= least ? [] : [refusal(metadata.name, what, resource, 'at least', least, has)];
          }),
        ]),
    ),
  );
}

const refusal = (range: string, what: string, resource: string, relation: string, bound: Amount, has: Amount): string =>
  `LimitRange ${range} allows ${what} ${relation} ${formatAmount(resource, bound)} of ${resource}, and a line's has ${formatAmount(resource, has)}`;

/** A quota on requests or limits of cpu or memory refuses every pod with a container that says nothing of them. */
function missingRefusals(pod: PodSpec, ranges: readonly LimitRange[], quotas: readonly ResourceQuota[]): string[] {
  return quotas
    .filter((quota) => applies(quota, pod))
    .flatMap((quota) =>
      Object.keys(hardOf(quota)).flatMap((name) => {
        const [kind, resource = ''] = name.split('.', 2);
        if ((kind !== 'requests' && kind !== 'limits') || !['cpu', 'memory'].includes(resource)) return [];
        const silent = pod.containers.find((container) => amountsOf(container, ranges)[kind][resource] === undefined);
        return silent === undefined
          ? []
          : [
              `ResourceQuota ${quota.metadata.name} counts ${name}, and the container ${silent.name ?? '?'} of a line does not say it`,
            ];
      }),
    );
}

/** What each quota that applies to pods of lines leaves to them all. `ours`: what the lines that are there take. */
export function quotasOf(quotas: readonly ResourceQuota[], pod: PodSpec, ours: Amounts): Quota[] {
  return quotas
    .filter((quota) => applies(quota, pod))
    .map((quota) => {
      const hard = hardOf(quota);
      const used = canonical(quota.status?.used ?? {});
      const usedByOthers = Object.fromEntries(
        Object.keys(hard).map((resource) => [resource, larger(0n, (used[resource] ?? 0n) - (ours[resource] ?? 0n))]),
      );
      return { name: `ResourceQuota ${quota.metadata.name}`, hard, usedByOthers };
    });
}

/** `spec` is what holds from now on; the status follows it a moment later. */
const hardOf = ({ spec, status }: ResourceQuota): Amounts => canonical(spec?.hard ?? status?.hard ?? {});

function canonical(quantities: Quantities): Amounts {
  return Object.fromEntries(
    Object.entries(parseAmounts(quantities)).map(([name, amount]) => [
      ['cpu', 'memory', 'ephemeral-storage'].includes(name) ? `requests.${name}` : name,
      amount,
    ]),
  );
}

/** Whether a quota counts pods of lines: they run without a deadline, and ask for something. */
function applies({ spec }: ResourceQuota, pod: PodSpec): boolean {
  const scopes = (spec?.scopes ?? []).map((scopeName): ScopeExpression => ({ scopeName, operator: 'Exists' }));
  return [...scopes, ...(spec?.scopeSelector?.matchExpressions ?? [])].every(({ scopeName, operator, values = [] }) => {
    switch (scopeName) {
      case 'NotTerminating':
      case 'NotBestEffort':
        return true;
      case 'PriorityClass': {
        const name = pod.priorityClassName;
        if (operator === 'Exists') return name !== undefined;
        if (operator === 'DoesNotExist') return name === undefined;
        return operator === 'In' ? name !== undefined && values.includes(name) : name === undefined || !values.includes(name);
      }
      default:
        return false;
    }
  });
}

/** What pods that are there take together. */
export const usedByPods = (pods: readonly PodSpec[], ranges: readonly LimitRange[]): Amounts =>
  pods.map((pod) => timesAmounts(lineCostOf(pod, ranges, []).perLine, 1)).reduce(addAmounts, {});
