import { type PrincipalId, parsePrincipalId } from '../../escrow/records/ids.js';
import { readServerForLabel } from '../objects/objectNames.js';
import { badId } from './challenge.js';
import { type DepositaryObjects, type PairHalf, objectsOf, versionsIn } from './depositaryObjects.js';
import { type CeremonyRecord, type Continued, continueRecord, requireRecorded } from './record.js';
import type { Pins, TokenLocation } from './ceremonySession.js';
import { asUser, withToken, CeremonyRefused, getSlot } from './ceremonySession.js';
import { asKeeper } from './trustedKeys.js';

/** Whose keys go, both PINs, and the record that is continued. The caller zeroes the PINs. */
export interface Retirement extends TokenLocation, Pins, Continued {
  readonly id: string;
  /** What becomes of the private halves of the server's pairs regarding them. */
  readonly serverKeys: 'kept' | 'destroyed';
}

/**
 * Destroys the trusted `depositary:<id>`, so that nothing is sealed to them any more, and the trusted halves of the server's pairs
 * regarding them. What was sealed through them opens by the private halves, unless these are destroyed too: then it opens no
 * more in this token, whatever copy of the database it comes from. Neither can be undone. Ended at any point, it can be run
 * again; of somebody who was retired before it destroys the private halves.
 */
export function retire(order: Retirement): Promise<CeremonyRecord> {
  const id = parsePrincipalId(order.id);
  if (id === undefined) throw badId(order.id);
  return withToken(order, async (ceremony) => {
    const slot = getSlot(ceremony);
    const key = await asUser(slot, order.userPin, ({ handle }) => {
      requireRecorded(ceremony, handle, order.before);
      const objects = objectsOf(ceremony, handle, id);
      requireSomething(objects, order, id);
      const found = objects.keys.map(({ fingerprint }) => fingerprint).join(' and ');
      return found || order.before.fingerprints.get(`depositary:${id}`);
    });
    // both, also when nothing is left that is trusted: nobody destroys keys alone
    await asKeeper(ceremony, slot, order, ({ handle }) => {
      const { keys, trusted } = objectsOf(ceremony, handle, id);
      // their own first: without it nothing is sealed to them
      for (const object of [...keys, ...trusted]) ceremony.driver.C_DestroyObject(handle, object.handle);
    });
    return asUser(slot, order.userPin, (session) => {
      const { openers } = objectsOf(ceremony, session.handle, id);
      if (order.serverKeys === 'destroyed')
        for (const { handle } of openers) ceremony.driver.C_DestroyObject(session.handle, handle);
      const who = key === undefined ? `${id}, who was before` : `${id}, whose key was ${key}`;
      const from = { driver: ceremony.driver, profile: order.profile, slot };
      const what = `retired: ${who}; the server's private keys regarding them ${fate(order, id, openers)}`;
      return continueRecord(from, session, order, what);
    });
  });
}

function fate({ serverKeys, before }: Retirement, id: PrincipalId, openers: readonly PairHalf[]): string {
  if (openers.length === 0) {
    // by one that was cut short before it wrote the record
    const gone = versionsIn(before, id);
    return gone.length === 0 ? 'are gone' : `are gone (${inWords(gone)})`;
  }
  const versions = inWords(openers.map(({ version }) => version));
  return serverKeys === 'destroyed' ? `were destroyed (${versions})` : `stay (${versions})`;
}

function inWords(versions: readonly number[]): string {
  return versions.map((version) => (version === 0 ? 'the first' : `v${version}`)).join(', ');
}

/** The record is written last: what it has and the token has not is of a retirement that was cut short. */
function requireSomething(
  { keys, trusted, openers }: DepositaryObjects,
  { serverKeys, before: { fingerprints } }: Retirement,
  id: PrincipalId,
): void {
  const isDestroying = serverKeys === 'destroyed';
  const isLeft = keys.length + trusted.length + (isDestroying ? openers.length : 0) > 0;
  const isRecorded = [...fingerprints].some(([label, fingerprint]) => {
    const isTheirs = label === `depositary:${id}` || readServerForLabel(label)?.id === id;
    // without a fingerprint it is a private half, which stays unless it is to be destroyed
    return isTheirs && (fingerprint !== undefined || isDestroying);
  });
  if (isLeft || isRecorded) return;
  throw new CeremonyRefused(
    openers.length === 0
      ? `${id} is not enrolled, and the token holds nothing of theirs: there is nothing to retire.`
      : `${id} is not enrolled: there is nothing to retire. The token holds the server's private keys regarding them still: --destroy-server-keys destroys these.`,
  );
}
