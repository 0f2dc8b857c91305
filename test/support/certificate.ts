/** A certificate that is its own authority, for a day or two, and its key: made by openssl (`needs('openssl')`). */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

/** Paths of PEM files in `dir`: `name.key` and `name.crt`. `subject`: what it is for, as `IP:127.0.0.1` or `DNS:localhost`. */
export function makeCertificate(dir: string, name: string, subject: string): { key: string; cert: string } {
  const [key, cert] = [join(dir, `${name}.key`), join(dir, `${name}.crt`)];
  const made = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const said = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=${subject}`];
  execFileSync('openssl', [...made, ...said, '-keyout', key, '-out', cert], { stdio: 'ignore' });
  return { key, cert };
}
