/** A file that was dropped, and what follows from its name, size and time. Pure. */
import { createHash } from 'node:crypto';
import { parse } from 'node:path';

export interface Drop {
  /** Within the folder. */
  name: string;
  /** Size in bytes and time of the last change in ns: another content has another. */
  identity: string;
}

export const identityOf = ({ size, mtimeNs }: { size: bigint; mtimeNs: bigint }): string => `${size}-${mtimeNs}`;

/** The key of its shard: the same file dropped again is the same shard, one of the same name with other content is another. */
export const keyOf = ({ name, identity }: Drop): string => `${name}@${identity}`;

/** The folder that a file is kept in while it is worked on. */
export const digestOf = (key: string): string => createHash('sha256').update(key, 'utf8').digest('hex').slice(0, 24);

/** Names that programs give to files which they still write, and hidden ones. */
export const isTemporary = (name: string): boolean =>
  /^\.|~$|\.(tmp|temp|part|partial|crdownload|filepart|swp|lock)$/i.test(name);

/** Beside one of that name that is there already. */
export function otherName(name: string, key: string): string {
  const { name: stem, ext } = parse(name);
  return `${stem}~${digestOf(key).slice(0, 8)}${ext}`;
}

/** Since when each file has been seen with the identity that it has; at most `max` are looked at, the others when these are through. */
export class Looks {
  readonly #seen = new Map<string, { identity: string; sinceMs: number }>();

  constructor(
    private readonly settleMs: number,
    private readonly max: number,
  ) {}

  get size(): number {
    return this.#seen.size;
  }

  /** Whether it has not changed for `settleMs`. */
  isSettled({ name, identity }: Drop, nowMs: number): boolean {
    const seen = this.#seen.get(name);
    if (seen?.identity === identity) return nowMs - seen.sinceMs >= this.settleMs;
    if (seen !== undefined || this.#seen.size < this.max) this.#seen.set(name, { identity, sinceMs: nowMs });
    return false;
  }

  forget(name: string): void {
    this.#seen.delete(name);
  }

  /** Files that are not there any more. */
  keepOnly(names: ReadonlySet<string>): void {
    for (const name of this.#seen.keys()) if (!names.has(name)) this.#seen.delete(name);
  }
}
