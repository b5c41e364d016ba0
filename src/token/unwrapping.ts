import pkcs11 from 'pkcs11js';
import type { Handle, Mechanism, PKCS11 } from 'pkcs11js';
import { EscrowError } from '../escrow/errors.js';
import type { KeySpec } from '../escrow/keySpecs.js';
import { KEY_SPECS } from '../escrow/keySpecs.js';
import type { Template } from './attributes.js';
import { readBytes, readDifferently } from './objects.js';
import { CURVES } from './spki.js';
import type { Workbench } from './workbench.js';

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
 * take an attribute and ignore it (opencryptoki 3.8.1 does). What differs is destroyed and EscrowError
 * `token-unavailable` thrown; a key of another specification is destroyed and {@link OtherKey} thrown.
 */
export function unwrapChecked(
  { driver, dialect }: Pick<Workbench, 'driver' | 'dialect'>,
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
    driver.C_DestroyObject(session, handle);
    throw error;
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
    const named = different.map((type) => `0x${type.toString(16)}`).join(', ');
    throw new EscrowError('token-unavailable', 'The token did not keep what was asked of a key.', {
      cause: new Error(`attributes read back differently: ${named}`),
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
