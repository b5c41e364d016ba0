import type { KeyObject } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import type { Handle } from 'pkcs11js';
import { type PrincipalId, parsePrincipalId } from '../../escrow/records/ids.js';
import { readKekLabel } from '../../escrow/records/sealing/keks.js';
import { readServerForLabel, serverForLabel } from '../objects/objectNames.js';
import { findAll, readRsaSpki } from '../objects/objects.js';
import { importSpki } from '../service/findLongLived.js';
import { RECIPIENTS, unboundedTrustedKeys } from '../objects/depositaries.js';
import { labelOf, nextVersion, objectsOf } from './depositaryObjects.js';
import { makeKeks } from './kekBirth.js';
import type { CeremonyRecord, Continued, EarlierRecord } from './record.js';
import { continueRecord, requireRecorded } from './record.js';
import type { Pins, CeremonySession, TokenLocation } from './ceremonySession.js';
import { asUser, withToken, CeremonyRefused, getSlot } from './ceremonySession.js';
import { asKeeper, destroyPrivateHalf, makeServerPair, makeTrusted } from './trustedKeys.js';

/**
 * Makes the ceremony's objects anew beside the old ones: a next version of every key-encryption key, with its rotating handle,
 * and of the server's pair regarding each depositary. Old KEKs and the private halves of old pairs stay, and only open what was
 * sealed for them. Trusted keys of old pairs are destroyed, and a depositary's that takes any key is replaced by one that says
 * what it takes, which cannot be undone. When a step fails, run it again: the token works at every point between.
 * No daemon may have the token open: it would see names twice. The caller zeroes the PINs.
 */
export function renew(order: TokenLocation & Pins & Continued): Promise<CeremonyRecord> {
  return withToken(order, async (ceremony) => {
    const slot = getSlot(ceremony);
    const { plan, pairs } = await asUser(slot, order.userPin, ({ handle }) => {
      requireRecorded(ceremony, handle, order.before);
      const made = planOf(ceremony, handle, order.before);
      return { plan: made, pairs: makePairs(ceremony, handle, made) };
    });
    await asKeeper(ceremony, slot, order, ({ handle }) => {
      exchangeTrusted(ceremony, handle, plan, pairs);
    });
    const keks = await makeKeks(ceremony, slot, order, plan.kekVersion);
    return asUser(slot, order.userPin, (session) => {
      const count = `${pairs.length} ${pairs.length === 1 ? 'depositary' : 'depositaries'}`;
      const from = { driver: ceremony.driver, profile: order.profile, slot };
      return continueRecord(
        from,
        session,
        order,
        `renewed: ${keks.join(', ')}, and the server's pairs regarding ${count}, were made`,
      );
    });
  });
}

interface Plan {
  readonly kekVersion: number;
  readonly depositaries: readonly {
    readonly id: PrincipalId;
    readonly key: KeyObject;
    /** Whether its trusted key takes any key, and there is none that does not. */
    readonly isUnbounded: boolean;
    /** The label of the server's next pair. */
    readonly pair: string;
  }[];
}

interface NewPair {
  readonly label: string;
  readonly key: KeyObject;
}

function planOf(ceremony: CeremonySession, session: Handle, before: EarlierRecord): Plan {
  const { driver, location } = ceremony;
  const labels = findAll(driver, session, [{ type: pkcs11.CKA_TOKEN, value: true }]).map((handle) =>
    labelOf(driver, session, handle),
  );
  const versions = [...labels, ...before.checkValues.keys()].map(
    (label) => readKekLabel(label)?.version ?? 0,
  );
  const unbounded = new Set(
    unboundedOf({ driver, location }, session).map(({ handle }) => handle.toString('hex')),
  );
  const bounded = new Set<PrincipalId>();
  const keys = new Map<PrincipalId, Buffer>();
  for (const handle of findAll(driver, session, RECIPIENTS[location.profile.depositaryKeys])) {
    const label = labelOf(driver, session, handle);
    const id = label.startsWith('depositary:')
      ? parsePrincipalId(label.slice('depositary:'.length))
      : undefined;
    if (id === undefined) continue;
    const spki = readRsaSpki(driver, session, handle);
    // the same key twice is left by a renewal that was cut short
    if (keys.get(id)?.equals(spki) === false)
      throw new CeremonyRefused(
        `The token has two trusted keys called ${label}: when a replacement was cut short, run \`ceremony replace ${id}\` again; else find out which is of ${id}.`,
      );
    keys.set(id, spki);
    if (!unbounded.has(handle.toString('hex'))) bounded.add(id);
  }
  return {
    kekVersion: 1 + Math.max(0, ...versions),
    depositaries: [...keys].map(([id, spki]) => ({
      id,
      key: importSpki(spki),
      isUnbounded: !bounded.has(id),
      pair: serverForLabel(id, nextVersion(objectsOf(ceremony, session, id), before, id)),
    })),
  };
}

/** Trusted public keys that take any key; none where the token knows nothing of that. */
function unboundedOf(
  { driver, location }: Pick<CeremonySession, 'driver' | 'location'>,
  session: Handle,
): ReturnType<typeof unboundedTrustedKeys> {
  return location.profile.absentAttributes.includes('CKA_WRAP_TEMPLATE')
    ? []
    : unboundedTrustedKeys(driver, session);
}

/** As the user: the private halves of the new pairs; none is left when one cannot be made. */
function makePairs(ceremony: CeremonySession, session: Handle, plan: Plan): readonly NewPair[] {
  const made: NewPair[] = [];
  try {
    for (const { pair } of plan.depositaries)
      made.push({ label: pair, key: importSpki(makeServerPair(ceremony, session, pair)) });
    return made;
  } catch (error) {
    for (const { label } of made) destroyPrivateHalf(ceremony, session, label);
    throw error;
  }
}

/** As the keeper: what is new first, then the old is destroyed, so that there is always one of each. */
function exchangeTrusted(
  ceremony: CeremonySession,
  session: Handle,
  plan: Plan,
  pairs: readonly NewPair[],
): void {
  const { driver, location } = ceremony;
  const unbounded = unboundedOf(ceremony, session);
  const replaced = plan.depositaries.filter(({ isUnbounded }) => isUnbounded);
  makeTrusted(ceremony, session, [
    ...pairs,
    ...replaced.map(({ id, key }) => ({ label: `depositary:${id}`, key })),
  ]);
  const ours = new Set(plan.depositaries.map(({ id }) => `depositary:${id}`));
  const current = new Set(pairs.map(({ label }) => label));
  const oldPairs = findAll(driver, session, RECIPIENTS[location.profile.depositaryKeys]).filter((handle) => {
    const label = labelOf(driver, session, handle);
    return readServerForLabel(label) !== undefined && !current.has(label);
  });
  const oldKeys = unbounded.filter(({ label }) => ours.has(label)).map(({ handle }) => handle);
  for (const handle of [...oldPairs, ...oldKeys]) driver.C_DestroyObject(session, handle);
}
