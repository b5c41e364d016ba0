import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';

import { codeOf } from '../system/errors.js';
import { PATHS } from './configuration.js';
import { InstallationRefused } from './order.js';

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
const CA_DAYS = 3650;
/** Long enough to be forgotten: docs/install.md says how it is renewed. */
const SERVER_DAYS = 825;
const PRIVATE = 0o600;
const PUBLIC = 0o644;

/** Makes, below `at`, a private CA and the server's certificate by it. @throws InstallationRefused when openssl does not */
export function makePrivateCa(at: string, names: readonly string[]): void {
  const file = (name: string): string => join(at, name);
  const request = file('request.pem');
  const extensions = file('extensions.cnf');
  openssl([
    ['req', '-x509', ...NEW_KEY, '-days', String(CA_DAYS), '-subj', `/CN=escrowd CA of ${names[0] ?? ''}`],
    [
      '-addext',
      'basicConstraints=critical,CA:TRUE,pathlen:0',
      '-addext',
      'keyUsage=critical,keyCertSign,cRLSign',
    ],
    ['-keyout', file(PATHS.caKey), '-out', file(PATHS.ca)],
  ]);
  openssl([
    ['req', ...NEW_KEY, '-subj', `/CN=${names[0] ?? ''}`],
    ['-keyout', file(PATHS.key), '-out', request],
  ]);
  writeFileSync(
    extensions,
    [
      'basicConstraints=critical,CA:FALSE',
      'keyUsage=critical,digitalSignature',
      'extendedKeyUsage=serverAuth',
      `subjectAltName=${alternativeNames(names)}`,
      '',
    ].join('\n'),
    { mode: PRIVATE },
  );
  openssl([
    ['x509', '-req', '-in', request, '-CA', file(PATHS.ca), '-CAkey', file(PATHS.caKey)],
    [
      '-set_serial',
      serial(),
      '-days',
      String(SERVER_DAYS),
      '-extfile',
      extensions,
      '-out',
      file(PATHS.certificate),
    ],
  ]);
  rmSync(request);
  rmSync(extensions);
  for (const secret of [PATHS.caKey, PATHS.key]) chmodSync(file(secret), PRIVATE);
  for (const open of [PATHS.ca, PATHS.certificate]) chmodSync(file(open), PUBLIC);
}

/** Makes, below `at`, the server's key and a request (PKCS#10) for a certificate. @throws InstallationRefused */
export function makeRequest(at: string, names: readonly string[]): void {
  openssl([
    [
      'req',
      '-new',
      ...NEW_KEY,
      '-subj',
      `/CN=${names[0] ?? ''}`,
      '-addext',
      `subjectAltName=${alternativeNames(names)}`,
    ],
    ['-keyout', join(at, PATHS.key), '-out', join(at, PATHS.request)],
  ]);
  chmodSync(join(at, PATHS.key), PRIVATE);
  chmodSync(join(at, PATHS.request), PUBLIC);
}

function alternativeNames(names: readonly string[]): string {
  return names.map((name) => `${isIP(name) === 0 ? 'DNS' : 'IP'}:${name}`).join(',');
}

/** RFC 5280 section 4.1.2.2: positive, at most 20 octets. */
function serial(): string {
  return `0x01${randomBytes(16).toString('hex')}`;
}

function openssl(args: readonly (readonly string[])[]): void {
  try {
    execFileSync('openssl', args.flat(), { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (error) {
    const why =
      codeOf(error) === 'ENOENT'
        ? 'there is no openssl. Install it, or bring a certificate of your own: --tls-cert and --tls-key'
        : `openssl could not make the TLS files: ${lastLine(error)}`;
    throw new InstallationRefused(why, { cause: error });
  }
}

function lastLine(error: unknown): string {
  const said = typeof error === 'object' && error !== null && 'stderr' in error ? String(error.stderr) : '';
  const last = said.trim().split('\n').at(-1) ?? '';
  return last === '' ? 'it ended early' : last;
}
