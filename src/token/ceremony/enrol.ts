import pkcs11 from 'pkcs11js';
import type { Session, Slot } from 'graphene-pk11';
import type { Handle } from 'pkcs11js';
import type { PrincipalId } from '../../escrow/ids.js';
import { Dialect } from '../dialect.js';
import { Mechanisms } from '../mechanisms.js';
import { findAll, readBytes, readRsaSpki, readsBack } from '../objects.js';
import { fingerprint, rsaNumbers } from '../spki.js';
import { importSpki } from '../startup.js';
import { unwrappingPair } from '../templates.js';
import { requireKept } from '../unwrapping.js';
import type { ProvenDepositary } from './challenge.js';
import { checkAnswer } from './challenge.js';
import type { CeremonyEvent, CeremonyRecord } from './record.js';
import { makeRecord } from './record.js';
import type { Table, TokenPlace } from './table.js';
import { trustedTemplate } from './templates.js';
import { asSecurityOfficer, asUser, atTable, CeremonyRefused, getSlot } from './table.js';

/** What {@link enrol} needs. The caller zeroes the PINs. */
export interface Enrolment extends TokenPlace {
  readonly id: string;
  /** JSON, as made by `makeChallenge`. */
  readonly challenge: string;
  /** JSON: `{ id, nonce }`. */
  readonly answer: string;
  readonly soPin: Buffer;
  readonly userPin: Buffer;
  readonly now: Date;
  /** What was done before, to stand in the record. */
  readonly events: readonly CeremonyEvent[];
}

/**
 * Enrols a depositary that has shown to hold its private key. The user makes the pair `server-for:<id>`, the
 * server's own key regarding this depositary; then the security officer makes `depositary:<id>` and the public
 * half of `server-for:<id>` trusted objects, which no user can. When a step fails, what was made is destroyed.
 */
export function enrol(order: Enrolment): Promise<CeremonyRecord> {
  const depositary = checkAnswer(order.id, order.challenge, order.answer);
  return atTable(order, async (table) => {
    const slot = getSlot(table);
    const server = await asUser(slot, order.userPin, (session) =>
      makeServerPair(table, session, depositary.id),
    );
    try {
      await asKeeper(slot, order, (session) => {
        makeTrusted(table, session, depositary, server);
      });
    } catch (error) {
      await asUser(slot, order.userPin, (session) => {
        destroyPrivateHalf(table, session, depositary.id);
      });
      throw error;
    }
    return asUser(slot, order.userPin, (session) => record(table, slot, session, order, depositary));
  });
}

/** The security officer; where the token has none by now, the user. */
function asKeeper(slot: Slot, order: Enrolment, work: (session: Session) => void): Promise<void> {
  return order.profile.securityOfficer === 'throughout'
    ? asSecurityOfficer(slot, order.soPin, work)
    : asUser(slot, order.userPin, work);
}

/** Makes the pair, and removes its public half: the user's is untrusted, and the officer makes a trusted one. */
function makeServerPair(table: Table, { handle: session }: Session, id: PrincipalId): Buffer {
  const { driver, place } = table;
  requireNone(table, session, id);
  const mechanisms = new Mechanisms(place.profile);
  const dialect = new Dialect(place.profile);
  const asked = unwrappingPair(`server-for:${id}`, mechanisms.number('rsaOaep'));
  const { publicKey, privateKey } = dialect.pair(asked);
  const mechanism = mechanisms.plain('rsaKeyPairGen');
  const pair = driver.C_GenerateKeyPair(session, mechanism, publicKey, privateKey);
  try {
    requireKept(driver, session, pair.privateKey, dialect.kept(asked.privateKey));
    const spki = readRsaSpki(driver, session, pair.publicKey);
    driver.C_DestroyObject(session, pair.publicKey);
    return spki;
  } catch (error) {
    driver.C_DestroyObject(session, pair.privateKey);
    throw error;
  }
}

function requireNone({ driver }: Table, session: Handle, id: PrincipalId): void {
  for (const label of [`depositary:${id}`, `server-for:${id}`]) {
    if (findAll(driver, session, byLabel(label)).length > 0) {
      throw new CeremonyRefused(
        `${id} is enrolled already, or an earlier enrolment was cut short: the token holds ${label}.`,
      );
    }
  }
}

function makeTrusted(
  { driver, place }: Table,
  { handle: session }: Session,
  depositary: ProvenDepositary,
  serverSpki: Buffer,
): void {
  const oaep = new Mechanisms(place.profile).number('rsaOaep');
  const dialect = new Dialect(place.profile);
  const made: Handle[] = [];
  try {
    for (const [label, key] of [
      [`server-for:${depositary.id}`, importSpki(serverSpki)],
      [`depositary:${depositary.id}`, depositary.key],
    ] as const) {
      const numbers = rsaNumbers(key);
      if (numbers === undefined) throw new CeremonyRefused(`${label} is not an RSA key.`);
      const id = fingerprint(key.export({ type: 'spki', format: 'der' }));
      const template = dialect.template(trustedTemplate(label, { ...numbers, id }, oaep));
      const handle = driver.C_CreateObject(session, template);
      made.push(handle);
      const trusted = readsBack(driver, session, handle, dialect.expected({ [pkcs11.CKA_TRUSTED]: true }));
      if (!trusted) throw new CeremonyRefused(`The token did not make ${label} trusted.`);
      const [readId] = readBytes(driver, session, handle, [pkcs11.CKA_ID]);
      const whole = readRsaSpki(driver, session, handle).equals(key.export({ type: 'spki', format: 'der' }));
      if (!whole || readId?.equals(id) !== true) {
        throw new CeremonyRefused(`The token holds another ${label} than it was given.`);
      }
    }
  } catch (error) {
    for (const object of made) driver.C_DestroyObject(session, object);
    throw error;
  }
}

function destroyPrivateHalf({ driver }: Table, { handle: session }: Session, id: PrincipalId): void {
  const template = [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PRIVATE_KEY },
    ...byLabel(`server-for:${id}`),
  ];
  for (const object of findAll(driver, session, template)) driver.C_DestroyObject(session, object);
}

function record(
  table: Table,
  slot: Slot,
  session: Session,
  order: Enrolment,
  { id, key }: ProvenDepositary,
): CeremonyRecord {
  const shown = fingerprint(key.export({ type: 'spki', format: 'der' })).toString('hex');
  const event = { at: order.now.toISOString(), what: `enrolled: ${id}, whose key is ${shown}` };
  const from = { driver: table.driver, profile: order.profile, slot };
  return makeRecord(from, session, [...order.events, event]);
}

function byLabel(label: string): { type: number; value: string | boolean }[] {
  return [
    { type: pkcs11.CKA_TOKEN, value: true },
    { type: pkcs11.CKA_LABEL, value: label },
  ];
}
