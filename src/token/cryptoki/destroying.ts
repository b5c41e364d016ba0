import koffi from 'koffi';
import type { Handle } from 'pkcs11js';
import { holding } from './attributes.js';
import { nativeCall, NativeFault } from './nativeFunction.js';

/** Destroys an object on another thread. */
export type DestroyHandle = (session: Handle, object: Handle) => Promise<void>;

/** Its place in CK_FUNCTION_LIST. */
const C_DESTROY_OBJECT = 22;
const PROTOTYPE = koffi.proto('ulong (ulong, ulong)');

/**
 * C_DestroyObject (PKCS#11 2.40 section 5.7) of a module that is loaded already, called beside the driver: for an object that is
 * kept in the token it is linear in all of them, 50 to 100 ms at 5,000, and the driver's own stops the process for as long.
 */
export function handleDestroyer(modulePath: string): DestroyHandle {
  const destroy = nativeCall(modulePath, C_DESTROY_OBJECT, PROTOTYPE);
  return async (session, object) => {
    const answer = await holding([], () => destroy(session.readBigUInt64LE(), object.readBigUInt64LE()));
    if (answer !== 0) throw new NativeFault(answer);
  };
}
