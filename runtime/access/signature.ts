/**
 * How a notice is signed: as Standard Webhooks has it, so that who takes it can check it with a library of theirs.
 * `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over `<webhook-id>.<webhook-timestamp>.<body>`, one for each
 * secret, so that a secret can be changed without a gap.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

export const secretCharsMin = 24;

export interface SignedHeaders {
  'webhook-id': string;
  /** Seconds since 1970. */
  'webhook-timestamp': string;
  'webhook-signature': string;
}

export function signNotice(secrets: readonly string[], id: string, timestampSeconds: number, body: string): SignedHeaders {
  const timestamp = String(timestampSeconds);
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': secrets.map((secret) => `v1,${macOf(secret, id, timestamp, body)}`).join(' '),
  };
}

/** For who takes notices in TypeScript: whether one of the signatures is of this secret, and the notice no older or newer than `toleranceSeconds`. */
export function isSigned(
  secret: string,
  headers: SignedHeaders,
  body: string,
  nowSeconds: number,
  toleranceSeconds = 300,
): boolean {
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures } = headers;
  if (!(Math.abs(nowSeconds - Number(timestamp)) <= toleranceSeconds)) return false;
  const wanted = Buffer.from(`v1,${macOf(secret, id, timestamp, body)}`);
  return signatures.split(' ').some((given) => {
    const mac = Buffer.from(given);
    return mac.length === wanted.length && timingSafeEqual(mac, wanted);
  });
}

/** A secret that begins with `whsec_` is base64 behind that; any other is its own bytes. */
const macOf = (secret: string, id: string, timestamp: string, body: string): string =>
  createHmac('sha256', secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : secret)
    .update(`${id}.${timestamp}.${body}`, 'utf8')
    .digest('base64');
