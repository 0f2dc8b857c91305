/**
 * `fetch` that goes nowhere but where it is allowed.
 *
 * Invariants
 *  1. A name is resolved once per connection, and the connection is made to the addresses that were looked at: what a
 *     name resolves to later (DNS rebinding) is looked at later.
 *  2. Each redirect is held against the same rules before it is followed; there are at most `redirectsMax`.
 *  3. A name with one forbidden address is refused, whatever its others are.
 */
import { lookup, type LookupAddress } from 'node:dns';
import { Agent, fetch as send, type RequestInit, type Response } from 'undici';
import { isPodlineError, type PodlineError } from '../contracts/errors.js';
import type { Addresses } from '../contracts/access.js';
import { specialKind } from './addresses.js';
import { forbidden, whyNotUrl } from './places.js';

const redirectsMax = 5;
const connectTimeoutMs = 10_000;
/** Sets of rules that one process lives by: those of its sources, and those of its webhooks. */
const agentsMax = 8;

export interface GuardedInit extends Omit<RequestInit, 'redirect' | 'dispatcher'> {
  /** `refuse`: an answer that leads elsewhere is an error. */
  redirect?: 'follow' | 'refuse' | undefined;
}

/** What resolves a name; tests hand in one of their own. */
export type Lookup = (
  hostname: string,
  options: { all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

const shown = (url: URL): string => `${url.origin}${url.pathname}`;

/** Throws PDL_PLACE_FORBIDDEN; otherwise as `fetch`. */
export async function guardedFetch(
  uri: string,
  init: GuardedInit,
  allowed: Addresses,
  resolveName: Lookup = lookup,
): Promise<Response> {
  const { redirect = 'follow', ...rest } = init;
  let url = new URL(uri);
  for (let redirects = 0; ; redirects += 1) {
    const why = whyNotUrl(url, allowed);
    if (why !== undefined)
      throw forbidden(redirects === 0 ? 'the address' : `the redirect from ${shown(new URL(uri))} to`, shown(url), why);
    const response = await once(url, rest, allowed, resolveName);
    const location = response.headers.get('location');
    if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return response;
    await response.body?.cancel();
    if (redirect === 'refuse') throw forbidden('the address', shown(url), `it leads elsewhere (HTTP ${String(response.status)})`);
    if (redirects >= redirectsMax)
      throw forbidden('the address', shown(url), `it leads on more than ${String(redirectsMax)} times`);
    url = new URL(location, url);
  }
}

async function once(url: URL, init: RequestInit, allowed: Addresses, resolveName: Lookup): Promise<Response> {
  try {
    return await send(url, { ...init, redirect: 'manual', dispatcher: agentFor(allowed, resolveName) });
  } catch (thrown) {
    for (let cause: unknown = thrown; cause instanceof Error; cause = cause.cause) if (isPodlineError(cause)) throw cause;
    throw thrown;
  }
}

const agents = new Map<string, { agent: Agent; resolveName: Lookup }>();

function agentFor(allowed: Addresses, resolveName: Lookup): Agent {
  const key = JSON.stringify(allowed);
  const known = agents.get(key);
  if (known?.resolveName === resolveName) return known.agent;
  const agent = new Agent({
    connect: {
      timeout: connectTimeoutMs,
      lookup: (hostname, options, callback) => {
        resolveName(hostname, { all: true }, (error, addresses) => {
          const fault = error ?? faultOf(hostname, addresses, allowed);
          const [first] = addresses;
          if (fault !== undefined || first === undefined) callback(fault ?? new Error(`${hostname} has no address`), '', 0);
          else if (options.all === true) (callback as (error: null, addresses: LookupAddress[]) => void)(null, addresses);
          else callback(null, first.address, first.family);
        });
      },
    },
  });
  for (const [oldest, { agent: old }] of agents) {
    if (agents.size < agentsMax && oldest !== key) break;
    agents.delete(oldest);
    void old.close();
  }
  agents.set(key, { agent, resolveName });
  return agent;
}

function faultOf(hostname: string, addresses: readonly LookupAddress[], allowed: Addresses): PodlineError | undefined {
  if (allowed.privateAddresses) return undefined;
  for (const { address } of addresses) {
    const kind = specialKind(address);
    if (kind !== undefined) return forbidden('the host', hostname, `it has the ${kind} address ${address}`);
  }
  return undefined;
}
