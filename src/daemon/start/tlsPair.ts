import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';

import { codeOf, messageOf } from '../../system/errors.js';
import type { Config } from '../config.js';
import { allOf, ConfigError } from './configError.js';
import { readText } from './namedFiles.js';
import type { Fault } from './fault.js';

const IN_PEM = 'name a file in PEM';
/** Those of TLS 1.3 (RFC 8446 section 4.2.3), by their names in OpenSSL. */
const CURVES: readonly string[] = ['prime256v1', 'secp384r1', 'secp521r1'];

/** Certificates and key of the server, in PEM, and the certificates as they were read. */
export interface TlsPair {
  readonly cert: string;
  readonly key: string;
  /** The server's own first, then those that lead to its authority. */
  readonly chain: readonly [X509Certificate, ...X509Certificate[]];
}

/**
 * Reads the certificates and the key that the server shows, and tries them together as TLS will. Whether a certificate has
 * expired is not asked here: the daemon serves with it, and says so.
 *
 * @throws ConfigError that names each file at fault
 */
export function readTlsPair({ tls }: Pick<Config, 'tls'>): TlsPair {
  const [{ cert, chain }, { text, key }] = allOf([
    () => {
      const pem = readText(tls.certificate, IN_PEM);
      return { cert: pem, chain: certificatesIn(pem, tls.certificate) };
    },
    () => {
      const pem = readText(tls.key, IN_PEM);
      return { text: pem, key: privateKeyIn(pem, tls.key) };
    },
  ]);
  const [own, ...others] = chain;
  if (!own.checkPrivateKey(key)) {
    const at = others.findIndex((other) => other.checkPrivateKey(key));
    throw refuse(
      `tls.certificate: ${tls.certificate}`,
      at < 0
        ? {
            what: `the certificate (${subjectOf(own)}) is not that of the key in ${tls.key}`,
            do: 'name the certificate that was issued for this key',
          }
        : {
            what: `the certificate of the key in ${tls.key} is the ${at + 2}. of the file, and must be the first`,
            do: "put the server's own certificate first, then those that lead to its authority",
          },
    );
  }
  try {
    createSecureContext({ cert, key: text, minVersion: 'TLSv1.2' });
  } catch (error) {
    throw refuse(
      `tls.certificate: ${tls.certificate}`,
      {
        what: `TLS does not take certificate and key (${messageOf(error)})`,
        do: 'have a certificate issued for an EC P-256 key, or an RSA key of 2,048 bits or more',
      },
      error,
    );
  }
  return { cert, key: text, chain };
}

/** What is not as it should be with certificates that the daemon serves with all the same: what clients will not believe. */
export function tlsWarnings({ chain }: TlsPair, file: string): readonly Fault[] {
  const [own, ...others] = chain;
  const where = `tls.certificate: ${file}`;
  const warnings: Fault[] = [];
  if (own.subjectAltName === undefined)
    warnings.push({
      where,
      what: 'the certificate names no host (subjectAltName): clients find no server in it',
      do: 'have one issued with the names and addresses by which clients call the daemon',
    });
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = own.publicKey;
  const isWeak =
    (type === 'rsa' && (details?.modulusLength ?? 0) < 2048) ||
    (type === 'ec' && !CURVES.includes(details?.namedCurve ?? ''));
  if (isWeak)
    warnings.push({
      where,
      what: `its key (${details?.namedCurve ?? `RSA of ${details?.modulusLength ?? 0} bits`}) is one that clients do not take`,
      do: 'have a certificate issued for an EC P-256 key, or an RSA key of 2,048 bits or more',
    });
  others.forEach((issuer, at) => {
    const issued = chain[at];
    if (issued?.checkIssued(issuer) !== false) return;
    warnings.push({
      where,
      what: `the ${at + 2}. certificate (${subjectOf(issuer)}) has not issued the one before it (${subjectOf(issued)})`,
      do: "put the server's own certificate first, then the one that issued it, and so on",
    });
  });
  return warnings;
}

/**
 * The certificates of the authorities of somebody else's server, in PEM.
 *
 * @throws ConfigError when there is none in the file
 */
export function readAuthorities(file: string): string {
  const pem = readText(file, IN_PEM);
  certificatesIn(pem, file);
  return pem;
}

/**
 * The certificates of a PEM file, in its order.
 *
 * @throws ConfigError when there is none, or one cannot be read
 */
export function certificatesIn(pem: string, file: string): TlsPair['chain'] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  try {
    const [first, ...others] = blocks.map((block) => new X509Certificate(block));
    if (first !== undefined) return [first, ...others];
  } catch (error) {
    throw refuse(
      file,
      {
        what: `a certificate in it cannot be read (${messageOf(error)})`,
        do: 'take it anew from whoever issued it',
      },
      error,
    );
  }
  throw refuse(file, {
    what: 'there is no certificate in it',
    do: 'name a file with certificates in PEM (-----BEGIN CERTIFICATE-----)',
  });
}

function privateKeyIn(pem: string, file: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    const isEncrypted =
      codeOf(error) === 'ERR_MISSING_PASSPHRASE' ||
      pem.includes('ENCRYPTED') ||
      /passphrase/i.test(messageOf(error));
    throw refuse(
      `tls.key: ${file}`,
      isEncrypted
        ? {
            what: 'the key is encrypted, and the daemon has nobody to ask for the passphrase',
            do: `decrypt it into a file that only the user of the daemon can read: openssl pkey -in ${file} -out ...`,
          }
        : { what: 'there is no private key in it', do: 'name a file with a private key in PEM' },
      error,
    );
  }
}

function subjectOf({ subject, serialNumber }: X509Certificate): string {
  return subject ? subject.replaceAll('\n', ', ') : `serial number ${serialNumber}`;
}

function refuse(where: string, fault: Omit<Fault, 'where'>, cause?: unknown): ConfigError {
  return new ConfigError([{ where, ...fault }], { cause });
}
