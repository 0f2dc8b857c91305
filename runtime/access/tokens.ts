/** Tokens of a file, by their hashes. Replaced whole when the file changes. */
import { createHash } from 'node:crypto';
import type { Action, Caller, Gate, Scope, TokenEntry } from '../contracts/access.js';

export const hashOfToken = (token: string): string => createHash('sha256').update(token, 'utf8').digest('hex');

interface Known {
  caller: Caller;
  expiresMs: number;
}

/** Tokens whose hashes were found lately: there are no more than callers. */
const recentMax = 1_024;

export class TokenGate implements Gate {
  #callers = new Map<string, Known>();
  /** By token. Of those that are known only, so what others send makes no room here and costs its hash each time. */
  #recent = new Map<string, Known>();

  /** `wallMs`: wall time, because people write when a token ends. */
  constructor(
    entries: readonly TokenEntry[],
    private readonly wallMs: () => number,
  ) {
    this.replace(entries);
  }

  replace(entries: readonly TokenEntry[]): void {
    this.#callers = new Map(
      entries.map((entry) => [
        entry.sha256,
        {
          caller: callerOf(entry),
          expiresMs: entry.expiresAt === undefined ? Number.POSITIVE_INFINITY : Date.parse(entry.expiresAt),
        },
      ]),
    );
    this.#recent = new Map();
  }

  /** Found by its hash: how long that takes says nothing of the tokens that there are. */
  identify(token: string): Caller | undefined {
    const found = this.#recent.get(token) ?? this.#find(token);
    return found !== undefined && this.wallMs() < found.expiresMs ? found.caller : undefined;
  }

  #find(token: string): Known | undefined {
    const found = this.#callers.get(hashOfToken(token));
    if (found === undefined) return undefined;
    if (this.#recent.size >= recentMax) this.#recent = new Map();
    this.#recent.set(token, found);
    return found;
  }
}

function callerOf({ name, scopes, pipelines, ratePerSecond }: TokenEntry): Caller {
  return {
    name,
    kind: 'token',
    ratePerSecond,
    may: ({ scope, pipeline }: Action) => scopes.includes(scope) && pipelines.some((pattern) => fits(pattern, pipeline)),
  };
}

/** Who may do something to all pipelines is who may to `*`. */
function fits(pattern: string, pipeline: string | undefined): boolean {
  if (pattern === '*') return true;
  if (pipeline === undefined) return false;
  return pattern.endsWith('*') ? pipeline.startsWith(pattern.slice(0, -1)) : pipeline === pattern;
}

/** One token that may do everything: of a coordinator inside a command, and of whoever owns its work directory. */
export function operatorGate(token: string, name = 'operator'): Gate {
  const everything: readonly Scope[] = ['submit', 'read', 'operate', 'line'];
  return new TokenGate(
    [{ name, sha256: hashOfToken(token), scopes: [...everything], pipelines: ['*'], ratePerSecond: 1e9 }],
    Date.now,
  );
}

/** The first that knows the token. */
export function anyGate(gates: readonly Gate[]): Gate {
  return {
    identify: (token) => {
      for (const [index, gate] of gates.entries()) {
        const found = gate.identify(token);
        if (found instanceof Promise) return found.then((caller) => caller ?? anyGate(gates.slice(index + 1)).identify(token));
        if (found !== undefined) return found;
      }
      return undefined;
    },
  };
}
