import { setImmediate as nextTurn } from 'node:timers/promises';
import pkcs11 from 'pkcs11js';
import type { Handle } from 'pkcs11js';
import { isStaleHandle } from '../cryptoki/faults.js';
import { readAttribute } from './objectCheck.js';
import type { ListedObject } from './objects.js';
import type { OpenParts } from './openParts.js';

/** So long objects are looked at before others have their turn, and one more. */
const SLICE_MS = 4;

/** All objects of a class that are kept in the token. What is destroyed meanwhile is left out. */
export async function listed(parts: OpenParts, objectClass: number): Promise<readonly ListedObject[]> {
  const handles = await handlesOf(parts, [{ type: pkcs11.CKA_CLASS, value: objectClass }]);
  return inSlices(parts, handles, (session, handle) => [
    { handle, objectClass, label: labelOf(parts, session, handle) },
  ]);
}

/** Objects that are kept in the token, looked for on another thread. */
export function handlesOf(
  { objects, findHandles, dialect }: OpenParts,
  template: Parameters<OpenParts['findHandles']>[1],
): Promise<readonly Handle[]> {
  return objects.alone((session) =>
    findHandles(session, [...dialect.template(template), { type: pkcs11.CKA_TOKEN, value: true }]),
  );
}

/**
 * Runs `look` on each, a few at a time; who waits for the token, and all else in this process, has a turn between. What is
 * destroyed meanwhile is left out.
 */
export async function inSlices<T, R>(
  { objects }: OpenParts,
  all: readonly T[],
  look: (session: Handle, one: T) => readonly R[],
): Promise<readonly R[]> {
  const results: R[] = [];
  for (let at = 0; at < all.length;) {
    at = await objects.alone((session) => {
      const until = performance.now() + SLICE_MS;
      let next = at;
      for (; next < all.length && (next === at || performance.now() < until); next += 1)
        results.push(...all.slice(next, next + 1).flatMap((one) => unlessGone(() => look(session, one))));
      return next;
    });
    await nextTurn();
  }
  return results;
}

function unlessGone<R>(look: () => readonly R[]): readonly R[] {
  try {
    return look();
  } catch (error) {
    if (!isStaleHandle(error)) throw error;
    return [];
  }
}

export function labelOf({ driver }: OpenParts, session: Handle, handle: Handle): string {
  return (readAttribute(driver, session, handle, pkcs11.CKA_LABEL) ?? Buffer.alloc(0)).toString('utf8');
}
