import pkcs11 from 'pkcs11js';
import type { Handle, Mechanism, PKCS11 } from 'pkcs11js';
import { EscrowError } from '../../escrow/records/errors.js';
import { type KeySpec, KEY_SPECS } from '../../escrow/records/keySpecs.js';
import type { Template } from '../cryptoki/attributes.js';
import { attributeName } from './objectCheck.js';
import { readBytes, readDifferently } from './objects.js';
import { CURVES } from '../cryptoki/spki.js';
import type { OpenParts } from './openParts.js';

/** One unwrapping: which ciphertext, with which key, into what. */
export interface Unwrapping {
  readonly mechanism: Mechanism;
  readonly with: Handle;
  readonly wrapped: Uint8Array;
  readonly into: Template;
  /** What the key must turn out to be, where it is a user key. */
  readonly spec: KeySpec | undefined;
}

/** Inside the ciphertext was a key of another kind than the deposit says. */
export class OtherKey extends Error {
  override readonly name = 'OtherKey';
}

/**
 * C_UnwrapKey (PKCS#11 2.40 section 5.13), then every yes and no of the template that the token has read back, since a device may
 * take an attribute and ignore it (opencryptoki 3.8.1 does). What differs is destroyed, an alarm raised, and EscrowError
 * `token-unavailable` thrown; a key of another specification is destroyed and {@link OtherKey} thrown.
 */
export function unwrapChecked(
  { driver, dialect, log }: Pick<OpenParts, 'driver' | 'dialect' | 'log'>,
  session: Handle,
  order: Unwrapping,
): Handle {
  const handle = driver.C_UnwrapKey(
    session,
    order.mechanism,
    order.with,
    Buffer.from(order.wrapped),
    dialect.unwrapping(order.into),
  );
  try {
    requireKept(driver, session, handle, dialect.keptOnUnwrapping(order.into));
    if (order.spec !== undefined) requireSpec(driver, session, handle, order.spec);
    return handle;
  } catch (error) {
    const destroyed = destroy(driver, session, handle);
    const cause = error instanceof EscrowError ? error.cause : undefined;
    if (cause instanceof OtherAttributes) {
      const attributes = cause.types.map(attributeName).join(', ');
      log('error', 'the token unwrapped a key with other attributes than were asked for', {
        alarm: 'unwrapped-key-differs',
        attributes,
        destroyed,
      });
    }
    throw error;
  }
}

/** Whether it is gone. In flight it also dies with the session, which a failure closes. */
function destroy(driver: PKCS11, session: Handle, handle: Handle): boolean {
  try {
    driver.C_DestroyObject(session, handle);
    return true;
  } catch {
    return false;
  }
}

/** Attributes of a key that the token has just made did not read back as given. */
class OtherAttributes extends Error {
  override readonly name = 'OtherAttributes';

  constructor(readonly types: readonly number[]) {
    super(`attributes read back differently: ${types.map(attributeName).join(', ')}`);
  }
}

/** Throws EscrowError `token-unavailable` when these do not read back as given. */
export function requireKept(
  driver: PKCS11,
  session: Handle,
  handle: Handle,
  expected: Readonly<Record<number, boolean>>,
): void {
  const different = readDifferently(driver, session, handle, expected);
  if (different.length > 0) {
    throw new EscrowError('token-unavailable', 'The token did not keep what was asked of a key.', {
      cause: new OtherAttributes(different),
    });
  }
}

function requireSpec(driver: PKCS11, session: Handle, handle: Handle, spec: KeySpec): void {
  const row = KEY_SPECS[spec];
  if ('modulusBits' in row) {
    const [modulus] = readBytes(driver, session, handle, [pkcs11.CKA_MODULUS]);
    if (modulus?.length !== row.modulusBits / 8) throw new OtherKey('another modulus length');
  } else if ('curve' in row) {
    const [params] = readBytes(driver, session, handle, [pkcs11.CKA_EC_PARAMS]);
    if (params?.equals(CURVES[row.curve].params) !== true) throw new OtherKey('another curve');
  }
}
