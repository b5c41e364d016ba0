import type { Session, Slot } from 'graphene-pk11';
import type { PrincipalId } from '../../escrow/records/ids.js';
import { serverForLabel } from '../objects/objectNames.js';
import { importSpki } from '../service/findLongLived.js';
import { type ProvenDepositary, checkAnswer } from './challenge.js';
import {
  type DepositaryObjects,
  fingerprintOf,
  nextVersion,
  objectsOf,
  requireFreshKey,
  requireOwnKey,
} from './depositaryObjects.js';
import { type CeremonyRecord, type Continued, continueRecord, requireRecorded } from './record.js';
import type { CeremonySession, Pins, TokenLocation } from './ceremonySession.js';
import { asUser, withToken, CeremonyRefused, getSlot } from './ceremonySession.js';
import { asKeeper, destroyPrivateHalf, makeServerPair, makeTrusted } from './trustedKeys.js';

/** A depositary with their answer to the challenge, both PINs, and the record that is continued. The caller zeroes the PINs. */
export interface Enrolment extends TokenLocation, Pins, Continued {
  readonly id: string;
  /** JSON, as made by `makeChallenge`. */
  readonly challenge: string;
  /** JSON: `{ id, nonce }`. */
  readonly answer: string;
}

/**
 * Enrols a depositary that has shown to hold its private key. The user makes the pair `server-for:<id>:v1`, the
 * server's own key regarding this depositary (of the next version, where a half of one is left of somebody who had left, or of an
 * enrolment that was cut short); then the security officer makes `depositary:<id>` and the public
 * half of that pair trusted objects, which no user can. When a step fails, what was made is destroyed.
 */
export function enrol(order: Enrolment): Promise<CeremonyRecord> {
  const depositary = checkAnswer(order.id, order.challenge, order.answer);
  return withToken(order, async (ceremony) => {
    const slot = getSlot(ceremony);
    const server = await asUser(slot, order.userPin, ({ handle }) => {
      requireRecorded(ceremony, handle, order.before);
      const objects = objectsOf(ceremony, handle, depositary.id);
      requireNone(objects, depositary.id);
      requireOwnKey(ceremony, handle, depositary);
      requireFreshKey(objects, order.before, depositary);
      const label = serverForLabel(depositary.id, nextVersion(objects, order.before, depositary.id));
      return { label, key: importSpki(makeServerPair(ceremony, handle, label)) };
    });
    try {
      await asKeeper(ceremony, slot, order, ({ handle }) =>
        makeTrusted(ceremony, handle, [
          server,
          { label: `depositary:${depositary.id}`, key: depositary.key },
        ]),
      );
    } catch (error) {
      await asUser(slot, order.userPin, ({ handle }) => {
        destroyPrivateHalf(ceremony, handle, server.label);
      });
      throw error;
    }
    return asUser(slot, order.userPin, (session) => record(ceremony, slot, session, order, depositary));
  });
}

function requireNone({ keys }: DepositaryObjects, id: PrincipalId): void {
  if (keys.length === 0) return;
  throw new CeremonyRefused(`${id} is enrolled already. For another key of theirs: ceremony replace ${id}.`);
}

function record(
  ceremony: CeremonySession,
  slot: Slot,
  session: Session,
  order: Enrolment,
  depositary: ProvenDepositary,
): CeremonyRecord {
  const from = { driver: ceremony.driver, profile: order.profile, slot };
  return continueRecord(
    from,
    session,
    order,
    `enrolled: ${depositary.id}, whose key is ${fingerprintOf(depositary)}`,
  );
}
