/**
 * Tokens of lines: each says for which line of which pipeline it is, and nobody else's name is taken with it.
 *
 * A token is `pdl-line.<pipeline>.<line>.<mac>`, the mac an HMAC-SHA256 under a secret of the coordinator. So none is
 * kept, replicas of a coordinator that share the secret know each other's, and changing the secret ends them all. Who
 * starts a line makes its token; what a stage can see of it is up to the driver.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Caller, Gate } from '../contracts/access.js';

const prefix = 'pdl-line';
/** Tokens that were found true lately: checking one costs more than all else of a heartbeat. */
const knownMax = 16_384;
export const lineSecretBytesMin = 32;

export class LineTokens implements Gate {
  readonly #known = new Map<string, Caller>();

  /** Throws for a secret that is too short to be one. */
  constructor(private readonly secret: Buffer) {
    if (secret.length < lineSecretBytesMin) throw new Error(`a secret has at least ${String(lineSecretBytesMin)} bytes`);
  }

  issue(pipeline: string, line: string): string {
    return [prefix, encode(pipeline), encode(line), this.#mac(pipeline, line)].join('.');
  }

  identify(token: string): Caller | undefined {
    if (!token.startsWith(`${prefix}.`)) return undefined;
    const known = this.#known.get(token);
    if (known !== undefined) return known;
    const [, pipelineText = '', lineText = '', mac = '', ...rest] = token.split('.');
    const [pipeline, line] = [decode(pipelineText), decode(lineText)];
    const wanted = Buffer.from(this.#mac(pipeline, line));
    const given = Buffer.from(mac);
    if (rest.length > 0 || given.length !== wanted.length || !timingSafeEqual(given, wanted)) return undefined;
    const caller: Caller = {
      name: `line ${line}`,
      kind: 'line',
      may: (action) =>
        action.scope === 'line' && action.line === line && (action.pipeline === undefined || action.pipeline === pipeline),
    };
    for (const [oldest] of this.#known) {
      if (this.#known.size < knownMax) break;
      this.#known.delete(oldest);
    }
    this.#known.set(token, caller);
    return caller;
  }

  #mac(pipeline: string, line: string): string {
    return createHmac('sha256', this.secret).update(`${prefix}\0${pipeline}\0${line}`, 'utf8').digest('base64url');
  }
}

const encode = (text: string): string => Buffer.from(text, 'utf8').toString('base64url');
const decode = (text: string): string => Buffer.from(text, 'base64url').toString('utf8');
