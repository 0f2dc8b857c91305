/**
 * Whether an address or a path is allowed, by what it says. Pure: what a name resolves to and where a symlink leads is
 * looked at where it is opened (`guarded-fetch.ts`, `real-path.ts`).
 */
import { isIP } from 'node:net';
import { isAbsolute, relative, resolve } from 'node:path';
import { PodlineError } from '../contracts/errors.js';
import type { Addresses } from '../contracts/access.js';
import { specialKind } from './addresses.js';

/** Why an address may not be asked, in words; undefined when it may. */
export function whyNotUrl(url: URL, allowed: Addresses): string | undefined {
  const scheme = url.protocol.slice(0, -1);
  if (!allowed.schemes.some((known) => known === scheme))
    return `${scheme} is not among the schemes that are allowed (${allowed.schemes.join(', ') || 'none'})`;
  if (url.username !== '' || url.password !== '') return 'it bears a user or password';
  if (!allowed.hosts.some((pattern) => isHost(url, pattern))) return `host ${url.host} is not among those that are allowed`;
  const literal = url.hostname.replace(/^\[|\]$/g, '');
  if (isIP(literal) !== 0 && !allowed.privateAddresses) {
    const kind = specialKind(literal);
    if (kind !== undefined) return `${literal} is a ${kind} address`;
  }
  return undefined;
}

function isHost(url: URL, pattern: string): boolean {
  const [, name = '', port] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(pattern.toLowerCase()) ?? [];
  if (port !== undefined && port !== portOf(url)) return false;
  const hostname = url.hostname.toLowerCase().replace(/\.$/, '');
  if (name === '*') return true;
  return name.startsWith('*.') ? hostname.endsWith(name.slice(1)) : hostname === name;
}

const portOf = (url: URL): string => (url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port);

/** Whether `path` is one of the roots or lies below one. Both are taken as they are written: no symlink is resolved. */
export function isUnder(path: string, roots: readonly string[]): boolean {
  return roots.some((root) => {
    const rest = relative(resolve(root), resolve(path));
    return rest === '' || (rest !== '..' && !rest.startsWith('../') && !isAbsolute(rest));
  });
}

export const forbidden = (what: string, place: string, why: string): PodlineError =>
  new PodlineError('PDL_PLACE_FORBIDDEN', `${what} ${place} is not allowed: ${why}`, { place });

export const notUnder = (roots: readonly string[]): string =>
  roots.length === 0 ? 'no folder is allowed' : `it does not lie in ${roots.join(' or ')}`;
