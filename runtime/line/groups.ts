/**
 * Consumer groups: a pipeline's lines may be divided, and with them its shards. Each shard belongs to one group, decided when it
 * is submitted, and is leased to lines of that group alone. Pure.
 */
import type { GroupSpec } from '../contracts/flow-spec.js';
import type { Parameters } from '../contracts/manifest.js';

/** It is always there: shards that name no group and fit none belong to it, and lines that name none serve it. */
export const defaultGroup = 'default';

/** Names of a pipeline's groups, `default` among them. */
export const groupNames = (groups: readonly Pick<GroupSpec, 'name'>[]): string[] => [
  ...new Set([...groups.map((group) => group.name), defaultGroup]),
];

/** The group of a shard that names none: the first whose `match` fits. */
export function groupOf(groups: readonly GroupSpec[], shard: { key: string; parameters: Parameters }): string {
  return groups.find(({ match }) => match !== undefined && fits(match, shard))?.name ?? defaultGroup;
}

function fits(match: NonNullable<GroupSpec['match']>, { key, parameters }: { key: string; parameters: Parameters }): boolean {
  if (match.key !== undefined && !fitsPattern(match.key, key)) return false;
  return Object.entries(match.parameters ?? {}).every(([name, value]) => parameters[name] === value);
}

/** `*` stands for any characters, also none. Takes time in proportion to the two lengths at most, whatever the pattern. */
export function fitsPattern(pattern: string, text: string): boolean {
  const [head = '', ...rest] = pattern.split('*');
  const tail = rest.pop();
  if (tail === undefined) return text === pattern;
  if (text.length < head.length + tail.length || !text.startsWith(head) || !text.endsWith(tail)) return false;
  const end = text.length - tail.length;
  let at = head.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

/** What drivers call the lines of a group, without their number: those of `default` are called like the pipeline. */
export const workloadName = (pipeline: string, group: string): string =>
  group === defaultGroup ? pipeline : `${pipeline}-${group}`;

export interface Grouped {
  /** With the namespace behind a dot where it is not the coordinator's own. */
  name: string;
  groups: readonly Pick<GroupSpec, 'name'>[];
}

/** The group of a pipeline whose lines would be called like those of another pipeline; undefined: all are its own. */
export function takenName(
  pipeline: Grouped,
  others: readonly Grouped[],
): { name: string; group: string; by: string } | undefined {
  const taken = new Map(
    others.filter(({ name }) => name !== pipeline.name).flatMap((by) => namesOf(by).map(([name]) => [name, by])),
  );
  for (const [name, group] of namesOf(pipeline)) {
    const by = taken.get(name);
    if (by !== undefined) return { name, group, by: by.name };
  }
  return undefined;
}

function namesOf({ name, groups }: Grouped): [name: string, group: string][] {
  const [own = '', ...namespace] = name.split('.');
  return groupNames(groups).map((group) => [[workloadName(own, group), ...namespace].join('.'), group]);
}
