import type { Session, Slot } from 'graphene-pk11';
import type { Handle } from 'pkcs11js';
import { emptyAnchor } from '../../log/anchor.js';
import { readAnchor, putAnchor } from '../objects/anchor.js';
import { Dialect } from '../profile/dialect.js';
import { Mechanisms } from '../profile/mechanisms.js';
import { requireKept } from '../objects/unwrapChecked.js';
import { describeObjects } from './describe.js';
import { type CeremonyRecord, continueRecord } from './record.js';
import { destroyKeks, makeKeks } from './kekBirth.js';
import type { Pins, CeremonySession, TokenLocation } from './ceremonySession.js';
import { signingPair } from '../profile/ceremonyTemplates.js';
import { asSecurityOfficer, asUser, withToken, CeremonyRefused, getSlot } from './ceremonySession.js';

/** The PINs are the new ones; the caller zeroes them. */
export interface Initialisation extends TokenLocation, Pins {
  readonly now: Date;
}

/**
 * Initialises a token under this label when there is none, and makes the long-lived keys in it: the key-encryption keys of
 * version 1 ({@link makeKeks}), `identity` and `log`, and the anchor of a log that has not begun. A token that is there already is never initialised again; it gets the
 * keys when it holds nothing of escrowd. What was made is destroyed again when a later step fails.
 */
export function initialise(order: Initialisation): Promise<CeremonyRecord> {
  return withToken(order, async (ceremony) => {
    requireTwoPins(order);
    const slot = ceremony.findSlot() ?? (await initialiseToken(ceremony, order));
    await asUser(slot, order.userPin, (session) => {
      requireEmpty(ceremony, session);
    });
    const keks = await makeKeks(ceremony, slot, order, 1);
    return asUser(slot, order.userPin, (session) => {
      try {
        makeOwnKeys(ceremony, session);
      } catch (error) {
        destroyKeks(ceremony, session.handle, keks);
        throw error;
      }
      const anchor = order.profile.dataObjects ? ', and anchor:log' : '';
      const what = `initialised: ${keks.join(', ')}, identity and log were made${anchor}`;
      const from = { driver: ceremony.driver, profile: order.profile, slot };
      return continueRecord(from, session, { now: order.now, before: { events: [] } }, what);
    });
  });
}

function requireTwoPins({ profile, soPin, userPin }: Initialisation): void {
  const pins = profile.securityOfficer === 'throughout' ? [soPin, userPin] : [userPin];
  if (pins.some(({ length }) => length < 4)) throw new CeremonyRefused('A PIN has at least four characters.');
  if (soPin.equals(userPin)) {
    throw new CeremonyRefused(
      'The PINs of the security officer and of the user are the same. They belong in different hands.',
    );
  }
}

async function initialiseToken(ceremony: CeremonySession, order: Initialisation): Promise<Slot> {
  const free = ceremony.findFreeSlot();
  if (free === undefined) throw new CeremonyRefused('No slot has a token that is not initialised yet.');
  if (order.profile.securityOfficer === 'until-first-pin') return setFirstPin(free, order);
  if (Buffer.byteLength(order.label) > 32) throw new CeremonyRefused('A label has at most 32 bytes.');
  // C_InitToken wants 32 bytes, padded with blanks (PKCS#11 2.40 section 5.5).
  const padding = ' '.repeat(32 - Buffer.byteLength(order.label));
  ceremony.driver.C_InitToken(free.handle, order.soPin.toString('utf8'), order.label + padding);
  // The token may have moved to another slot, as it does in SoftHSM.
  const slot = getSlot(ceremony);
  await asSecurityOfficer(slot, order.soPin, (session) => {
    session.initPin(order.userPin.toString('utf8'));
  });
  return slot;
}

/** A token without a security officer of its own: who comes first, with the empty PIN, sets the user's. */
async function setFirstPin(free: Slot, order: Initialisation): Promise<Slot> {
  if (free.getToken().label !== order.label)
    throw new CeremonyRefused(`The token that is free calls itself "${free.getToken().label}".`);
  await asSecurityOfficer(free, Buffer.alloc(0), (session) => {
    session.initPin(order.userPin.toString('utf8'));
  });
  return free;
}

function requireEmpty(ceremony: CeremonySession, session: Session): void {
  const found = describeObjects(ceremony.driver, session, ceremony.location.profile);
  const { dataObjects } = ceremony.location.profile;
  const anchored =
    dataObjects && readAnchor(ceremony.driver, session.handle) !== undefined ? ['anchor:log'] : [];
  const labels = [...new Set([...found.map(({ label }) => label), ...anchored])].join(', ');
  if (labels !== '') {
    throw new CeremonyRefused(
      `The token "${ceremony.location.label}" is in use already: it holds ${labels}.`,
    );
  }
}

/** `identity` and `log`, and the anchor. */
function makeOwnKeys(ceremony: CeremonySession, { handle: session }: Session): void {
  const { driver, location } = ceremony;
  const made: Handle[] = [];
  try {
    made.push(...makeSigningPair(ceremony, session, 'identity', 'ECDSA-P256'));
    made.push(...makeSigningPair(ceremony, session, 'log', location.profile.logKey));
    if (location.profile.dataObjects) putAnchor(driver, session, emptyAnchor);
  } catch (error) {
    for (const object of made) driver.C_DestroyObject(session, object);
    throw error;
  }
}

function makeSigningPair(
  { driver, location }: CeremonySession,
  session: Handle,
  label: 'identity' | 'log',
  algorithm: 'Ed25519' | 'ECDSA-P256',
): readonly Handle[] {
  const mechanisms = new Mechanisms(location.profile);
  const dialect = new Dialect(location.profile);
  const edwards = algorithm === 'Ed25519';
  const asked = signingPair(
    label,
    edwards ? 'Ed25519' : 'secp256r1',
    mechanisms.number(edwards ? 'eddsa' : 'ecdsa'),
  );
  const { publicKey, privateKey } = dialect.pair(asked);
  const mechanism = mechanisms.plain(edwards ? 'edwardsKeyPairGen' : 'ecKeyPairGen');
  const pair = driver.C_GenerateKeyPair(session, mechanism, publicKey, privateKey);
  try {
    requireKept(driver, session, pair.privateKey, dialect.kept(asked.privateKey));
    return [pair.publicKey, pair.privateKey];
  } catch (error) {
    driver.C_DestroyObject(session, pair.publicKey);
    driver.C_DestroyObject(session, pair.privateKey);
    throw error;
  }
}
