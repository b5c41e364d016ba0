import type { Handle, Mechanism, PKCS11 } from 'pkcs11js';
import { WRAPPED_KEY_ROOM } from './limits.js';

/**
 * C_WrapKey. Of what it makes the result is all that is left in this process: whoever has a key under its key-encryption key, and the
 * PIN, needs no depositary.
 */
export function wrapOnce(
  driver: PKCS11,
  session: Handle,
  mechanism: Mechanism,
  { wrapping, key }: { readonly wrapping: Handle; readonly key: Handle },
): Buffer {
  const room = Buffer.alloc(WRAPPED_KEY_ROOM);
  try {
    return Buffer.from(driver.C_WrapKey(session, mechanism, wrapping, key, room));
  } finally {
    room.fill(0);
  }
}

/** Whether both are the same bytes; what was only `made` to be held against the other is overwritten. */
export function isSameAs(other: Uint8Array, made: Buffer): boolean {
  const isSame = made.equals(other);
  made.fill(0);
  return isSame;
}
