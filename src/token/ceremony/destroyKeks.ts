import type { Handle } from 'pkcs11js';
import pkcs11 from 'pkcs11js';
import { isOperate, newestKeks, readKekLabel, rotatingLabel } from '../../escrow/records/sealing/keks.js';
import { kekCheckValueIfAny } from '../objects/kekCheckValue.js';
import { findAll } from '../objects/objects.js';
import { Dialect } from '../profile/dialect.js';
import { Mechanisms } from '../profile/mechanisms.js';
import { labelOf } from './depositaryObjects.js';
import { type CeremonyRecord, type Continued, continueRecord, requireRecorded } from './record.js';
import type { CeremonySession, Pins, TokenLocation } from './ceremonySession.js';
import { asUser, withToken, CeremonyRefused, getSlot } from './ceremonySession.js';
import { rotatingWithValueOf } from './rotation.js';
import { asKeeper, byLabel } from './trustedKeys.js';

/** Which key-encryption keys go, by label, both PINs, and the record that is continued. The caller zeroes the PINs. */
export interface KekDestruction extends TokenLocation, Pins, Continued {
  readonly keks: readonly string[];
}

/**
 * Destroys older key-encryption keys: every object of this token that has the value of one, itself, its rotating handle, and copies
 * of both under whatever label. What lies under them opens no more in this token, whatever copy of the database it comes
 * from and whoever agrees. Cannot be undone. Ended at any point, it can be run again.
 *
 * @throws CeremonyRefused for the newest of a kind, under which keys are deposited, when there is nothing to destroy, and by a record
 *   without check values, which does not say which key-encryption keys the ceremony made
 */
export async function destroyOlderKeks(order: KekDestruction): Promise<CeremonyRecord> {
  requireLabels(order.keks);
  requireCheckValues(order);
  return withToken(order, async (ceremony) => {
    const slot = getSlot(ceremony);
    await asUser(slot, order.userPin, ({ handle }) => {
      requireRecorded(ceremony, handle, order.before);
      requireOlder(labelsOfKeks(ceremony, handle), order);
      for (const kek of order.keks) requireSomething(ceremony, handle, kek, order);
    });
    // nobody destroys keys alone
    await asKeeper(ceremony, slot, order, () => undefined);
    return asUser(slot, order.userPin, (session) => {
      const fates = order.keks.map((kek) => destroyKek(ceremony, session.handle, kek, order));
      const from = { driver: ceremony.driver, profile: order.profile, slot };
      return continueRecord(from, session, order, `destroyed: ${fates.join('; ')}`);
    });
  });
}

function requireLabels(keks: readonly string[]): void {
  const other = keks.find((label) => readKekLabel(label) === undefined);
  if (other !== undefined)
    throw new CeremonyRefused(
      `${other} is not the label of a key-encryption key: such as kek:operate:sign:v1. \`ceremony show\` has those of this token.`,
    );
}

/** Whoever has the user PIN can make a key that is called the newest: only a check value tells it from what the ceremony made. */
function requireCheckValues({ before }: KekDestruction): void {
  if (before.checkValues.size > 0) return;
  throw new CeremonyRefused(
    'The record has no check values of key-encryption keys: write it anew by `ceremony show --json`. Nothing was destroyed.',
  );
}

/** By the token and by the record: what is newer must be there, and be what it was. */
function requireOlder(inToken: readonly string[], { keks, before }: KekDestruction): void {
  const { checkValues } = before;
  const there = inToken.filter((label) => checkValues.has(label));
  const newest = Object.values(newestKeks([...there, ...checkValues.keys()]));
  const needed = keks.find((kek) => newest.includes(kek));
  if (needed !== undefined)
    throw new CeremonyRefused(
      `${needed} is the newest of its kind: keys are deposited under it. \`ceremony renew\` makes a newer one. Nothing was destroyed.`,
    );
  const absent = newest.find((kek) => !there.includes(kek));
  if (absent !== undefined)
    throw new CeremonyRefused(
      `The token does not hold ${absent}, which the record has as the newest of its kind. Nothing was destroyed.`,
    );
}

/** The record is written last: what it has and the token has not is of a destruction that was cut short. */
function requireSomething(
  ceremony: CeremonySession,
  session: Handle,
  kek: string,
  { before }: KekDestruction,
): void {
  const isRecorded = [kek, rotatingLabel(kek)].some((label) => before.fingerprints.has(label));
  if (isRecorded || objectsOf(ceremony, session, kek, before.checkValues.get(kek)).length > 0) return;
  throw new CeremonyRefused(`The token does not hold ${kek}: there is nothing to destroy.`);
}

/** Destroys all objects of one, the key itself behind those that only it tells from others. Returns what was destroyed, in words. */
function destroyKek(
  ceremony: CeremonySession,
  session: Handle,
  kek: string,
  { before }: KekDestruction,
): string {
  const recorded = before.checkValues.get(kek);
  const objects = objectsOf(ceremony, session, kek, recorded);
  for (const { handle } of objects) ceremony.driver.C_DestroyObject(session, handle);
  const left = objectsOf(ceremony, session, kek, recorded).map(({ label }) => label);
  if (left.length > 0)
    throw new CeremonyRefused(`The token still holds ${left.join(', ')}, which it was told to destroy.`);
  const count = `${objects.length} ${objects.length === 1 ? 'object' : 'objects'} of this token`;
  return `${kek} (check value ${recorded ?? 'not recorded'}; ${count})`;
}

interface Found {
  readonly handle: Handle;
  readonly label: string;
}

/**
 * Every secret key of the token that is called so, or has its value: what has it under another label, by the check value or by what
 * comes out of it; then itself, without which nobody could tell; then its rotating handle.
 */
function objectsOf(
  ceremony: CeremonySession,
  session: Handle,
  kek: string,
  recorded: string | undefined,
): readonly Found[] {
  const own = named(ceremony, session, kek);
  const values = new Set([
    ...(recorded === undefined ? [] : [recorded]),
    ...own.flatMap(({ handle }) => checkValueOf(ceremony, session, handle) ?? []),
  ]);
  const known = new Set(own.map(({ handle }) => handle.toString('hex')));
  const copies = secretKeys(ceremony, session, [{ type: pkcs11.CKA_WRAP, value: true }])
    .filter((handle) => !known.has(handle.toString('hex')))
    .filter((handle) => values.has(checkValueOf(ceremony, session, handle) ?? ''))
    .map((handle) => foundAs(ceremony, session, handle));
  const handles = rotatingElsewhere(ceremony, session, kek, [...own, ...copies]);
  return [...handles, ...copies, ...own, ...named(ceremony, session, rotatingLabel(kek))];
}

/** Handles that rotate what lies under a key-encryption key and are not called so: these wrap nothing, and have no check value. */
function rotatingElsewhere(
  ceremony: CeremonySession,
  session: Handle,
  label: string,
  [kek]: readonly Found[],
): readonly Found[] {
  const kind = readKekLabel(label)?.kind;
  if (kek === undefined || kind === undefined || !isOperate(kind)) return [];
  const others = secretKeys(ceremony, session, [
    { type: pkcs11.CKA_WRAP, value: false },
    { type: pkcs11.CKA_UNWRAP, value: true },
  ]);
  return rotatingWithValueOf(ceremony, session, { kind, kek: kek.handle }, others)
    .map((handle) => foundAs(ceremony, session, handle))
    .filter((found) => found.label !== rotatingLabel(label));
}

function foundAs({ driver }: CeremonySession, session: Handle, handle: Handle): Found {
  return { handle, label: labelOf(driver, session, handle) };
}

function named(ceremony: CeremonySession, session: Handle, label: string): readonly Found[] {
  return secretKeys(ceremony, session, byLabel(label)).map((handle) => ({ handle, label }));
}

function secretKeys(
  { driver }: CeremonySession,
  session: Handle,
  more: Parameters<typeof findAll>[2],
): readonly Handle[] {
  return findAll(driver, session, [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
    { type: pkcs11.CKA_TOKEN, value: true },
    ...more,
  ]);
}

/** Undefined of what does not wrap as a key-encryption key does. */
function checkValueOf(
  { driver, location }: CeremonySession,
  session: Handle,
  handle: Handle,
): string | undefined {
  const using = {
    driver,
    dialect: new Dialect(location.profile),
    mechanisms: new Mechanisms(location.profile),
  };
  return kekCheckValueIfAny(using, session, handle);
}

function labelsOfKeks(ceremony: CeremonySession, session: Handle): readonly string[] {
  return secretKeys(ceremony, session, [])
    .map((handle) => labelOf(ceremony.driver, session, handle))
    .filter((label) => readKekLabel(label) !== undefined);
}
