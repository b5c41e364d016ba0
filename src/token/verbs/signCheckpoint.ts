import { createHash } from 'node:crypto';
import type { Sessions } from '../cryptoki/sessions.js';
import type { Mechanisms } from '../profile/mechanisms.js';
import type { TokenObjects } from '../objects/objects.js';
import { objectNames } from '../objects/objectNames.js';
import { ecdsaToDer } from '../../system/der.js';
import { EscrowError } from '../../escrow/records/errors.js';

/** How the `log` key signs. */
export type LogAlgorithm = 'Ed25519' | 'ECDSA-P256';

/**
 * Signs with the `log` key, as C2SP signed-note wants it: Ed25519 over the bytes (64 bytes), or ECDSA P-256 with
 * SHA-256 as ASN.1 DER. On a session of its own, so that the log never waits for the keys that are being made.
 */
export async function signWithLogKey(
  using: { readonly objects: TokenObjects; readonly sessions: Sessions; readonly mechanisms: Mechanisms },
  algorithm: LogAlgorithm,
  bytes: Uint8Array,
): Promise<Buffer> {
  if (bytes.length === 0) throw new EscrowError('internal', 'There is nothing to sign.');
  const { objects, sessions, mechanisms } = using;
  const gone = (): Promise<EscrowError> => Promise.resolve(new EscrowError('token-unavailable'));
  return objects.using(objectNames.signing('log'), gone, (handle) =>
    sessions.exclusive((session) => {
      const edwards = algorithm === 'Ed25519';
      const input = edwards ? Buffer.from(bytes) : createHash('sha256').update(bytes).digest();
      objects.driver.C_SignInit(session, mechanisms.plain(edwards ? 'eddsa' : 'ecdsa'), handle);
      const signature = Buffer.from(objects.driver.C_Sign(session, input, Buffer.alloc(64)));
      return edwards ? signature : ecdsaToDer(signature);
    }),
  );
}
