import pkcs11 from 'pkcs11js';
import type { Session, Slot } from 'graphene-pk11';
import type { Handle } from 'pkcs11js';
import type { PrincipalId } from '../../escrow/records/ids.js';
import { readAttribute } from '../objects/objectCheck.js';
import { readServerForLabel, serverForLabel } from '../objects/objectNames.js';
import { findAll } from '../objects/objects.js';
import { fingerprint } from '../cryptoki/spki.js';
import { importSpki } from '../service/findLongLived.js';
import { type ProvenDepositary, checkAnswer } from './challenge.js';
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
 * server's own key regarding this depositary; then the security officer makes `depositary:<id>` and the public
 * half of that pair trusted objects, which no user can. When a step fails, what was made is destroyed.
 */
export function enrol(order: Enrolment): Promise<CeremonyRecord> {
  const depositary = checkAnswer(order.id, order.challenge, order.answer);
  const label = serverForLabel(depositary.id, 1);
  return withToken(order, async (ceremony) => {
    const slot = getSlot(ceremony);
    const server = await asUser(slot, order.userPin, ({ handle }) => {
      requireRecorded(ceremony, handle, order.before);
      requireNone(ceremony, handle, depositary.id);
      requireOwnKey(ceremony, handle, depositary);
      return makeServerPair(ceremony, handle, label);
    });
    try {
      await asKeeper(ceremony, slot, order, ({ handle }) =>
        makeTrusted(ceremony, handle, [
          { label, key: importSpki(server) },
          { label: `depositary:${depositary.id}`, key: depositary.key },
        ]),
      );
    } catch (error) {
      await asUser(slot, order.userPin, ({ handle }) => {
        destroyPrivateHalf(ceremony, handle, label);
      });
      throw error;
    }
    return asUser(slot, order.userPin, (session) => record(ceremony, slot, session, order, depositary));
  });
}

function requireNone({ driver }: CeremonySession, session: Handle, id: PrincipalId): void {
  const taken = findAll(driver, session, [{ type: pkcs11.CKA_TOKEN, value: true }])
    .map((handle) => readAttribute(driver, session, handle, pkcs11.CKA_LABEL)?.toString())
    .find((label = '') => label === `depositary:${id}` || readServerForLabel(label)?.id === id);
  if (taken === undefined) return;
  throw new CeremonyRefused(
    `${id} is enrolled already, or an earlier enrolment was cut short: the token holds ${taken}.`,
  );
}

/** Two people with one key would be two in every quorum, and one who decides. By CKA_ID, the SHA-256 of the key. */
function requireOwnKey({ driver }: CeremonySession, session: Handle, { id, key }: ProvenDepositary): void {
  const taken = findAll(driver, session, [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PUBLIC_KEY },
    { type: pkcs11.CKA_TOKEN, value: true },
    { type: pkcs11.CKA_ID, value: fingerprint(key.export({ type: 'spki', format: 'der' })) },
  ])
    .map((handle) => readAttribute(driver, session, handle, pkcs11.CKA_LABEL)?.toString())
    .find((label) => label?.startsWith('depositary:'));
  if (taken === undefined) return;
  throw new CeremonyRefused(
    `The key of ${id} is enrolled already, as that of ${taken.slice('depositary:'.length)}. Two people never share a key: find out whose it is; the other makes one of their own (escrowctl identity new DIR --id ID --depositary).`,
  );
}

function record(
  ceremony: CeremonySession,
  slot: Slot,
  session: Session,
  order: Enrolment,
  { id, key }: ProvenDepositary,
): CeremonyRecord {
  const shown = fingerprint(key.export({ type: 'spki', format: 'der' })).toString('hex');
  const from = { driver: ceremony.driver, profile: order.profile, slot };
  return continueRecord(from, session, order, `enrolled: ${id}, whose key is ${shown}`);
}
