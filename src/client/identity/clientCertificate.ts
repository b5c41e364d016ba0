import { X509Certificate } from 'node:crypto';

import { IdentityError } from '../errors.js';
import { type AskPassphrase, readPrivateKey } from './privateKeyFile.js';
import { readOwnText } from '../files/textFile.js';

/** What an app shows to be known by its connection: PEM. It may be self-signed; the policy names it by its hash. */
export interface ClientCertificate {
  readonly cert: string;
  readonly key: string;
}

/**
 * Reads a client certificate (more may follow it in the file) and its private key. The key may be under a passphrase.
 * @throws IdentityError `key-missing`, `key-malformed` (also when they do not belong together), `key-exposed`, `key-locked`
 */
export async function readClientCertificate(
  certFile: string,
  keyFile: string,
  askPassphrase: AskPassphrase,
): Promise<ClientCertificate> {
  const key = await readPrivateKey(keyFile, askPassphrase);
  const cert = await readOwnText(certFile, 'key-missing');
  if (parsed(cert, certFile).checkPrivateKey(key)) {
    return { cert, key: key.export({ type: 'pkcs8', format: 'pem' }).toString() };
  }
  throw new IdentityError('key-malformed', `${keyFile} is not the key of the certificate in ${certFile}`);
}

function parsed(pem: string, path: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new IdentityError('key-malformed', `${path} is not a certificate in PEM`, { cause });
  }
}
