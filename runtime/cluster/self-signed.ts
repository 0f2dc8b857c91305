/**
 * A certificate that is its own authority, for a server whose only client is told to trust it: an aggregated API, whose APIService holds it.
 * X.509 in DER (RFC 5280), as much as such a certificate has; keys and signature are `node:crypto`'s.
 */
import { generateKeyPairSync, randomBytes, sign, X509Certificate } from 'node:crypto';

export interface SelfSigned {
  /** PEM. */
  cert: string;
  key: string;
}

const dayMs = 86_400_000;
const lastsDays = 365;
/** A clock that is behind ours must take it, too. */
const earlierMs = 3_600_000;

const oid = {
  commonName: [0x55, 0x04, 0x03],
  basicConstraints: [0x55, 0x1d, 0x13],
  keyUsage: [0x55, 0x1d, 0x0f],
  subjectAltName: [0x55, 0x1d, 0x11],
  ecdsaWithSha256: [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
} as const;

/** For these DNS names, the first of which is its subject's; good for a year. `wallMs`: since 1970. */
export function selfSigned(names: readonly [string, ...string[]], wallMs: number): SelfSigned {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const subject = sequence(set(sequence(object(oid.commonName), tagged(0x0c, Buffer.from(names[0])))));
  const algorithm = sequence(object(oid.ecdsaWithSha256));
  const content = sequence(
    // Version 3.
    tagged(0xa0, integer(Buffer.from([2]))),
    // Positive, and never the same twice.
    integer(Buffer.concat([Buffer.from([0x40]), randomBytes(15)])),
    algorithm,
    subject,
    sequence(time(wallMs - earlierMs), time(wallMs + lastsDays * dayMs)),
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(
      0xa3,
      sequence(
        extension(oid.basicConstraints, true, sequence(yes)),
        // digitalSignature, keyCertSign.
        extension(oid.keyUsage, true, tagged(0x03, Buffer.from([0x02, 0x84]))),
        extension(oid.subjectAltName, false, sequence(...names.map((name) => tagged(0x82, Buffer.from(name))))),
      ),
    ),
  );
  const signature = sign('sha256', content, privateKey);
  const certificate = sequence(content, algorithm, tagged(0x03, Buffer.concat([Buffer.from([0]), signature])));
  return {
    cert: new X509Certificate(certificate).toString(),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

/** How long a certificate is still good for, ms; less than 0 when it is over. Throws for what is none. */
export const goodForMs = (cert: string, wallMs: number): number => Date.parse(new X509Certificate(cert).validTo) - wallMs;

// --- DER: a tag, a length, and what it says ---------------------------------------------------

function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(length);
  const short = bytes.subarray(bytes.findIndex((byte) => byte > 0));
  return Buffer.concat([Buffer.from([tag, 0x80 | short.length]), short, content]);
}

const sequence = (...parts: Buffer[]): Buffer => tagged(0x30, Buffer.concat(parts));
const set = (...parts: Buffer[]): Buffer => tagged(0x31, Buffer.concat(parts));
const object = (bytes: readonly number[]): Buffer => tagged(0x06, Buffer.from(bytes));
const integer = (bytes: Buffer): Buffer => tagged(0x02, bytes);
const yes = tagged(0x01, Buffer.from([0xff]));

/** GeneralizedTime from 2050 on, UTCTime before. */
function time(wallMs: number): Buffer {
  const digits = new Date(wallMs).toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  return Number(digits.slice(0, 4)) < 2050 ? tagged(0x17, Buffer.from(digits.slice(2))) : tagged(0x18, Buffer.from(digits));
}

const extension = (id: readonly number[], critical: boolean, value: Buffer): Buffer =>
  sequence(object(id), ...(critical ? [yes] : []), tagged(0x04, value));
