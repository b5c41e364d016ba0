import type { Handle } from 'pkcs11js';
import { serverForLabel } from '../objects/objectNames.js';
import { importSpki } from '../service/findLongLived.js';
import { type ProvenDepositary, checkAnswer } from './challenge.js';
import {
  fingerprintOf,
  nextVersion,
  objectsOf,
  requireFreshKey,
  requireOwnKey,
} from './depositaryObjects.js';
import type { Enrolment } from './enrol.js';
import { type CeremonyRecord, type EarlierRecord, continueRecord, requireRecorded } from './record.js';
import type { CeremonySession } from './ceremonySession.js';
import { asUser, withToken, CeremonyRefused, getSlot } from './ceremonySession.js';
import { asKeeper, destroyPrivateHalf, makeServerPair, makeTrusted } from './trustedKeys.js';

/**
 * Gives a depositary who is enrolled another key, which they have shown to hold, and the server's next pair regarding them. Both are
 * made before the trusted `depositary:<id>` and the trusted halves of the pairs before are destroyed, which cannot be undone. The
 * private halves of those stay: what was sealed before opens by the key that it was sealed to. Ended at any point, the token
 * works, and running it again goes on to the end; while it has both keys, nothing is sealed to either.
 */
export function replace(order: Enrolment): Promise<CeremonyRecord> {
  const depositary = checkAnswer(order.id, order.challenge, order.answer);
  return withToken(order, async (ceremony) => {
    const slot = getSlot(ceremony);
    const plan = await asUser(slot, order.userPin, ({ handle }) => {
      requireRecorded(ceremony, handle, order.before);
      const made = planOf(ceremony, handle, order.before, depositary);
      if (made.madeBefore !== undefined) return { ...made, pair: made.madeBefore, toMake: [] };
      const pair = { label: made.nextPair, key: importSpki(makeServerPair(ceremony, handle, made.nextPair)) };
      return { ...made, pair: pair.label, toMake: [pair] };
    });
    const progress = { isMade: false };
    try {
      await asKeeper(ceremony, slot, order, ({ handle }) => {
        const own = { label: `depositary:${depositary.id}`, key: depositary.key };
        makeTrusted(ceremony, handle, [...plan.toMake, ...(plan.hasKey ? [] : [own])]);
        progress.isMade = true;
        destroyBefore(ceremony, handle, depositary, plan.pair);
      });
    } catch (error) {
      if (!progress.isMade)
        await asUser(slot, order.userPin, ({ handle }) => {
          for (const { label } of plan.toMake) destroyPrivateHalf(ceremony, handle, label);
        });
      throw error;
    }
    return asUser(slot, order.userPin, (session) => {
      const from = { driver: ceremony.driver, profile: order.profile, slot };
      const what = `replaced: ${depositary.id}, whose key is ${fingerprintOf(depositary)}, was ${plan.was}`;
      return continueRecord(from, session, order, what);
    });
  });
}

interface Plan {
  /** Whether their new key is trusted already. */
  readonly hasKey: boolean;
  /** The label of the pair that a replacement which was cut short has made. */
  readonly madeBefore: string | undefined;
  /** The label of the pair to make otherwise. */
  readonly nextPair: string;
  /** The fingerprint of the key before. */
  readonly was: string;
}

function planOf(
  ceremony: CeremonySession,
  session: Handle,
  earlier: EarlierRecord,
  depositary: ProvenDepositary,
): Plan {
  const { id } = depositary;
  const { fingerprints } = earlier;
  const objects = objectsOf(ceremony, session, id);
  if (objects.keys.length === 0)
    throw new CeremonyRefused(
      `${id} is not enrolled: there is no key of theirs to replace. For somebody new: ceremony enrol ${id}.`,
    );
  requireOwnKey(ceremony, session, depositary);
  requireFreshKey(objects, earlier, depositary);
  const now = fingerprintOf(depositary);
  const before = objects.keys.filter((key) => key.fingerprint !== now);
  const hasKey = before.length < objects.keys.length;
  const recorded = fingerprints.get(`depositary:${id}`);
  // the record is written last: what it does not have is of a replacement that was cut short
  const isRecorded = recorded === undefined || recorded === now;
  if (hasKey && before.length === 0 && isRecorded)
    throw new CeremonyRefused(
      `This is the key of ${id} that is enrolled (${now}): there is nothing to replace. ${id} makes a new one first.`,
    );
  const [newest] = objects.trusted;
  const isWhole = objects.openers.filter(({ label }) => label === newest?.label).length === 1;
  const isOld = newest === undefined || fingerprints.get(newest.label) !== undefined;
  return {
    hasKey,
    madeBefore: isWhole && !isOld ? newest.label : undefined,
    nextPair: serverForLabel(id, nextVersion(objects, earlier, id)),
    was: before.map((key) => key.fingerprint).join(' and ') || (recorded ?? now),
  };
}

/** As the keeper: what is trusted of a depositary, but for their key of now and this pair. */
function destroyBefore(
  ceremony: CeremonySession,
  session: Handle,
  depositary: ProvenDepositary,
  pair: string,
): void {
  const { keys, trusted } = objectsOf(ceremony, session, depositary.id);
  const now = fingerprintOf(depositary);
  const old = [
    ...keys.filter((key) => key.fingerprint !== now),
    ...trusted.filter(({ label }) => label !== pair),
  ];
  for (const { handle } of old) ceremony.driver.C_DestroyObject(session, handle);
}
