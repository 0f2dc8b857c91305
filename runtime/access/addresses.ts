/** Which addresses of the network are nobody's business: those of this machine, of its neighbours and of no one. */
import { BlockList, isIP } from 'node:net';

/** From the IANA registries of special-purpose addresses. */
const special: readonly (readonly [string, number, 'ipv4' | 'ipv6', string])[] = [
  ['0.0.0.0', 8, 'ipv4', 'unspecified'],
  ['127.0.0.0', 8, 'ipv4', 'loopback'],
  ['::1', 128, 'ipv6', 'loopback'],
  ['::', 128, 'ipv6', 'unspecified'],
  ['169.254.0.0', 16, 'ipv4', 'link-local'],
  ['fe80::', 10, 'ipv6', 'link-local'],
  ['10.0.0.0', 8, 'ipv4', 'private'],
  ['172.16.0.0', 12, 'ipv4', 'private'],
  ['192.168.0.0', 16, 'ipv4', 'private'],
  ['fc00::', 7, 'ipv6', 'private'],
  ['fec0::', 10, 'ipv6', 'private'],
  ['100.64.0.0', 10, 'ipv4', 'shared'],
  ['192.0.0.0', 24, 'ipv4', 'reserved'],
  ['192.0.2.0', 24, 'ipv4', 'reserved'],
  ['198.18.0.0', 15, 'ipv4', 'reserved'],
  ['198.51.100.0', 24, 'ipv4', 'reserved'],
  ['203.0.113.0', 24, 'ipv4', 'reserved'],
  ['2001:db8::', 32, 'ipv6', 'reserved'],
  ['100::', 64, 'ipv6', 'reserved'],
  ['224.0.0.0', 4, 'ipv4', 'multicast'],
  ['ff00::', 8, 'ipv6', 'multicast'],
  ['240.0.0.0', 4, 'ipv4', 'reserved'],
  // Behind these an IPv4 address is hidden: translated, tunnelled, or compatible with one.
  ['64:ff9b::', 96, 'ipv6', 'translated'],
  ['64:ff9b:1::', 48, 'ipv6', 'translated'],
  ['2002::', 16, 'ipv6', 'tunnelled'],
  ['2001::', 32, 'ipv6', 'tunnelled'],
  ['::', 96, 'ipv6', 'reserved'],
];

const lists = new Map<string, BlockList>();
for (const [net, prefix, family, kind] of special) {
  const list = lists.get(kind) ?? new BlockList();
  lists.set(kind, list);
  list.addSubnet(net, prefix, family);
}

/** In a word, what is special about an address; undefined for a public one. IPv4 within IPv6 counts as IPv4. */
export function specialKind(address: string): string | undefined {
  const family = isIP(address);
  if (family === 0) return 'unknown';
  for (const [kind, list] of lists) if (list.check(address, family === 4 ? 'ipv4' : 'ipv6')) return kind;
  return undefined;
}
