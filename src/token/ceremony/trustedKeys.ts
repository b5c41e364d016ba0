import type { KeyObject } from 'node:crypto';
import pkcs11 from 'pkcs11js';
import type { Session, Slot } from 'graphene-pk11';
import type { Handle } from 'pkcs11js';
import { Dialect } from '../profile/dialect.js';
import { Mechanisms } from '../profile/mechanisms.js';
import { findAll, readBytes, readRsaSpki, readsBack } from '../objects/objects.js';
import { fingerprint, rsaNumbers } from '../cryptoki/spki.js';
import { unwrappingPair } from '../profile/templates.js';
import { requireKept } from '../objects/unwrapChecked.js';
import type { Pins, CeremonySession } from './ceremonySession.js';
import { asSecurityOfficer, asUser, CeremonyRefused } from './ceremonySession.js';
import { trustedTemplate } from '../profile/ceremonyTemplates.js';

/** The security officer; where the token has none by now, the user. */
export function asKeeper<T>(
  ceremony: CeremonySession,
  slot: Slot,
  { soPin, userPin }: Pins,
  work: (session: Session) => T,
): Promise<T> {
  return ceremony.location.profile.securityOfficer === 'throughout'
    ? asSecurityOfficer(slot, soPin, work)
    : asUser(slot, userPin, work);
}

/**
 * As the user: makes the server's pair of this label and removes its public half, since the user's is untrusted and the keeper
 * makes a trusted one of the DER SubjectPublicKeyInfo that this returns.
 */
export function makeServerPair(
  { driver, location }: CeremonySession,
  session: Handle,
  label: string,
): Buffer {
  const mechanisms = new Mechanisms(location.profile);
  const dialect = new Dialect(location.profile);
  const asked = unwrappingPair(label, mechanisms.opening());
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

/** As the user: destroys the private half of the server's pair of this label. */
export function destroyPrivateHalf({ driver }: CeremonySession, session: Handle, label: string): void {
  const template = [{ type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PRIVATE_KEY }, ...byLabel(label)];
  for (const object of findAll(driver, session, template)) driver.C_DestroyObject(session, object);
}

/** As the keeper: makes these keys trusted objects of these labels, all or none. */
export function makeTrusted(
  { driver, location }: CeremonySession,
  session: Handle,
  keys: readonly { readonly label: string; readonly key: KeyObject }[],
): readonly Handle[] {
  const oaep = new Mechanisms(location.profile).number('rsaOaep');
  const dialect = new Dialect(location.profile);
  const made: Handle[] = [];
  try {
    for (const { label, key } of keys) {
      const numbers = rsaNumbers(key);
      if (numbers === undefined) throw new CeremonyRefused(`${label} is not an RSA key.`);
      const spki = key.export({ type: 'spki', format: 'der' });
      const id = fingerprint(spki);
      const template = dialect.template(trustedTemplate(label, { ...numbers, id }, oaep));
      const handle = driver.C_CreateObject(session, template);
      made.push(handle);
      const trusted = readsBack(driver, session, handle, dialect.expected({ [pkcs11.CKA_TRUSTED]: true }));
      if (!trusted) throw new CeremonyRefused(`The token did not make ${label} trusted.`);
      const [readId] = readBytes(driver, session, handle, [pkcs11.CKA_ID]);
      const whole = readRsaSpki(driver, session, handle).equals(spki);
      if (!whole || readId?.equals(id) !== true) {
        throw new CeremonyRefused(`The token holds another ${label} than it was given.`);
      }
    }
    return made;
  } catch (error) {
    for (const object of made) driver.C_DestroyObject(session, object);
    throw error;
  }
}

/** Finds by label what stands in the token. */
export function byLabel(label: string): { type: number; value: string | boolean }[] {
  return [
    { type: pkcs11.CKA_TOKEN, value: true },
    { type: pkcs11.CKA_LABEL, value: label },
  ];
}
