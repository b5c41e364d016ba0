import { createHash } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import type { Handle, PKCS11 } from 'pkcs11js';
import type { Template } from '../cryptoki/attributes.js';
import { isOtherKey } from '../cryptoki/faults.js';
import type { Dialect } from '../profile/dialect.js';
import type { Mechanisms } from '../profile/mechanisms.js';
import { extractable, IN_FLIGHT, only, SECRET_AES, SECRET_USES } from '../profile/templateParts.js';

/** A key that everybody knows: what a KEK makes of it tells one KEK from another, and nothing else. */
const KNOWN: Template = [
  ...SECRET_AES,
  ...IN_FLIGHT,
  { type: pkcs11.CKA_PRIVATE, value: true },
  ...extractable(true),
  ...only(SECRET_USES),
  { type: pkcs11.CKA_VALUE, value: Buffer.from('escrowd: check value of a KEK --') },
];

/**
 * What a key-encryption key is known by: SHA-256 (hex) of a known key under it (RFC 5649, which has no randomness). Two
 * keys have the same one only if they are the same key, so one that was made elsewhere or later cannot pass for it,
 * whatever its attributes say. It tells nothing about the key. Makes one object in flight and destroys it.
 */
export function kekCheckValue(
  using: { readonly driver: PKCS11; readonly dialect: Dialect; readonly mechanisms: Mechanisms },
  session: Handle,
  kek: Handle,
): string {
  const { driver, dialect, mechanisms } = using;
  const known = driver.C_CreateObject(session, dialect.template(KNOWN));
  try {
    const kwp = mechanisms.plain('keyWrapWithPadding');
    const wrapped = driver.C_WrapKey(session, kwp, kek, known, Buffer.alloc(64));
    return createHash('sha256').update(wrapped).digest('hex');
  } finally {
    driver.C_DestroyObject(session, known);
  }
}

/** The same; undefined of a key that does not wrap as a key-encryption key does, whatever it is called. */
export function kekCheckValueIfAny(...of: Parameters<typeof kekCheckValue>): string | undefined {
  try {
    return kekCheckValue(...of);
  } catch (error) {
    if (!isOtherKey(error)) throw error;
    return undefined;
  }
}
