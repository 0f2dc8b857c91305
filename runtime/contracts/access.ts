/** Who may do what, and which places a coordinator and its lines may reach. */
import { z } from 'zod';

/**
 * `submit`: hand in shards. `read`: see pipelines, shards, results, lines and events. `operate`: change them: apply, pause,
 * cancel, retry, replay, drain. `line`: speak as a line. None implies another.
 */
export const scopes = ['submit', 'read', 'operate', 'line'] as const;
export type Scope = (typeof scopes)[number];

const root = z.string().regex(/^\//, 'must be an absolute path').describe('An absolute path.');
const host = z
  .string()
  .regex(
    /^(\*|(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?(:\d{1,5})?|\[[0-9a-f:.]+\](:\d{1,5})?)$/i,
    'must be a host such as data.example.org, *.example.org, host:8443 or *',
  )
  .describe('A host; `*.example.org` for those below it, `*` for all; with a port, only that one.');

/** Where http(s) may lead to. What is not named is refused. */
export const addressesSchema = z.strictObject({
  hosts: z.array(host).default([]).describe('The hosts that may be asked.'),
  schemes: z
    .array(z.enum(['http', 'https']))
    .default(['https'])
    .describe('How they may be asked.'),
  privateAddresses: z
    .boolean()
    .default(false)
    .describe('Whether an allowed host may have a loopback, link-local, private or otherwise special address.'),
});
export type Addresses = z.infer<typeof addressesSchema>;

/** Where sources may be read from and results written to. What is not named is refused. */
export const allowedSchema = z.strictObject({
  sources: addressesSchema
    .extend({ roots: z.array(root).default([]).describe('Folders whose files may be sources, symlinks resolved.') })
    .prefault({})
    .describe('Where sources may lie.'),
  results: z
    .strictObject({ roots: z.array(root).default([]).describe('Folders in which results may be written, symlinks resolved.') })
    .prefault({})
    .describe('Where results may be written.'),
});
export type Allowed = z.infer<typeof allowedSchema>;

/** One token of a token file. The token itself stands nowhere. */
export const tokenEntrySchema = z.strictObject({
  name: z.string().min(1).max(128).describe('Who it is, in the audit log.'),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits')
    .describe('Of the token, in hexadecimal; `podline token` makes both.'),
  scopes: z.array(z.enum(scopes)).min(1).describe('What it may do.'),
  pipelines: z
    .array(z.string().regex(/^[a-z0-9-]*\*?$/, 'must be the name of a pipeline, or the beginning of one and *'))
    .min(1)
    .default(['*'])
    .describe('To which pipelines; `etl-*` for all that begin so.'),
  expiresAt: z.iso.datetime({ offset: true }).optional().describe('From then on it is refused.'),
  ratePerSecond: z.number().positive().optional().describe('Requests; without it, that of the server.'),
});
export type TokenEntry = z.infer<typeof tokenEntrySchema>;

export const tokenFileSchema = z.strictObject({ tokens: z.array(tokenEntrySchema).max(10_000) });

/** What somebody wants to do. Without a pipeline: to all of them. */
export interface Action {
  scope: Scope;
  pipeline?: string | undefined;
  /** For scope `line`: as which line. */
  line?: string | undefined;
}

/** Whoever a request came from, once its token was known. */
export interface Caller {
  /** Unique; in the audit log, and what rates are counted by. */
  readonly name: string;
  readonly kind: 'token' | 'line' | 'account';
  /** Requests; without it, that of the server. */
  readonly ratePerSecond?: number | undefined;
  may(action: Action): boolean | Promise<boolean>;
}

/** Knows tokens. */
export interface Gate {
  /** Undefined: the token is none of this gate's, or not any more. Throws PDL_UNREACHABLE where it cannot be asked. */
  identify(token: string): Caller | undefined | Promise<Caller | undefined>;
}
