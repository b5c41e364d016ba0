import pkcs11 from 'pkcs11js';
import { type GrantId, type ImportId, type RecoveryId, parseId } from '../../escrow/records/ids.js';
import type { StandingObjects } from '../../escrow/ports/token.js';
import { listed } from './listing.js';
import type { ListedObject } from './objects.js';
import type { OpenParts } from './openParts.js';

/**
 * The one-time keys and grants that stand in the token now, by their labels. A pair counts with either half: a kill
 * between the two leaves one. Looked for on another thread and read in slices; from then on nobody has to look for any of them.
 */
export async function standingObjects(parts: OpenParts): Promise<StandingObjects> {
  const all: ListedObject[] = [];
  for (const objectClass of [pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_SECRET_KEY, pkcs11.CKO_PUBLIC_KEY])
    all.push(...(await listed(parts, objectClass)));
  // After looking: a token that is gone finds nothing from then on, and it may have gone in between.
  await parts.health.check();
  parts.objects.learn(all);
  const transports = new Set<RecoveryId>();
  const grants = new Set<GrantId>();
  const imports = new Set<ImportId>();
  for (const { objectClass, label } of all) {
    const [what, id] = label.split(':', 2);
    const recovery = what === 'transport' ? parseId('RecoveryId', id ?? '') : undefined;
    const pair = what === 'import' ? parseId('ImportId', id ?? '') : undefined;
    const grant = what === 'grant' ? parseId('GrantId', id ?? '') : undefined;
    if (recovery !== undefined) transports.add(recovery);
    if (pair !== undefined) imports.add(pair);
    if (grant !== undefined && objectClass !== pkcs11.CKO_PUBLIC_KEY) grants.add(grant);
  }
  return { transports: [...transports], grants: [...grants], imports: [...imports] };
}
