import pkcs11 from 'pkcs11js';
import { type GrantId, type RecoveryId, parseId } from '../../escrow/records/ids.js';
import { findAll, readBytes } from './objects.js';
import type { OpenParts } from './openParts.js';

/**
 * The one-time keys and grants that stand in the token now, by their labels. A transport pair counts with either
 * half: a kill between the two leaves one.
 */
export async function standingObjects(
  parts: OpenParts,
): Promise<{ readonly transports: readonly RecoveryId[]; readonly grants: readonly GrantId[] }> {
  const { driver, objects, health } = parts;
  return objects.alone((session) => {
    const transports = new Set<RecoveryId>();
    const grants = new Set<GrantId>();
    for (const objectClass of [pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_SECRET_KEY, pkcs11.CKO_PUBLIC_KEY]) {
      const template = [
        { type: pkcs11.CKA_CLASS, value: objectClass },
        { type: pkcs11.CKA_TOKEN, value: true },
      ];
      for (const handle of findAll(driver, session, template)) {
        const label = String(readBytes(driver, session, handle, [pkcs11.CKA_LABEL])[0]);
        const [what, id] = label.split(':', 2);
        const recovery = what === 'transport' ? parseId('RecoveryId', id ?? '') : undefined;
        const grant = what === 'grant' ? parseId('GrantId', id ?? '') : undefined;
        if (recovery !== undefined) transports.add(recovery);
        if (grant !== undefined && objectClass !== pkcs11.CKO_PUBLIC_KEY) grants.add(grant);
      }
    }
    // After looking: a token that is gone finds nothing from then on, and it may have gone in between.
    health.checkIn(session);
    return { transports: [...transports], grants: [...grants] };
  });
}
