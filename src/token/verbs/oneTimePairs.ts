import pkcs11 from 'pkcs11js';
import type { Handle } from 'pkcs11js';
import { EscrowError } from '../../escrow/records/errors.js';
import { ulongs } from '../cryptoki/attributes.js';
import type { Loan } from './loan.js';
import type { ObjectName } from '../objects/objectNames.js';
import { readAttribute } from '../objects/objectCheck.js';
import { readRsaSpki } from '../objects/objects.js';
import { type PairMaker, PairMakerEnded } from '../objects/pairMaker.js';
import { oneTimePair } from '../profile/templates.js';
import { requireKept } from '../objects/unwrapChecked.js';
import type { OpenParts } from '../objects/openParts.js';

/** What both halves of a pair are called that is made on demand and used up. */
export interface OneTimePair {
  readonly privateKey: ObjectName;
  readonly publicKey: ObjectName;
}

/** Makes such a pair. Resolves with its DER SubjectPublicKeyInfo. */
export function makeOneTimePair(
  parts: OpenParts,
  loan: Loan,
  pair: OneTimePair,
): Promise<{ readonly publicKey: Uint8Array }> {
  return parts.objects.making(pair.privateKey, () =>
    parts.pairMaker?.isAtWork === true
      ? makeApart(parts, loan, parts.pairMaker, pair)
      : makeInQueue(parts, loan, pair),
  );
}

/** Destroys both halves; does nothing when they are gone. */
export function destroyPair(parts: OpenParts, { privateKey, publicKey }: OneTimePair): Promise<void> {
  return destroyAll(parts, [privateKey, publicKey], 'every');
}

/**
 * The pair is born in the token under its label: MODIFIABLE and COPYABLE are false, so a ready one could be neither renamed nor
 * copied, and SoftHSM 2.6.1 makes no copy that is not COPYABLE itself. Nor can it be made on another thread beside what finds and
 * destroys: SoftHSM fails one pair in a hundred (CKR_GENERAL_ERROR), and leaves files. So another process makes it, and the queue
 * of token objects is held only to look before and after. One that is made and not seen is made again: SoftHSM takes another
 * process's change for its own now and then, until there is one more. When the other process ends meanwhile, by a fault of the
 * token as well, what it may have begun is destroyed and the pair is made in the queue.
 */
async function makeApart(
  parts: OpenParts,
  loan: Loan,
  maker: PairMaker,
  pair: OneTimePair,
): Promise<{ readonly publicKey: Uint8Array }> {
  const { objects } = parts;
  const { privateKey: name } = pair;
  await objects.alone((session) => requireAbsent(parts, session, name));
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    try {
      await maker.make(name.label);
    } catch (error) {
      if (!(error instanceof PairMakerEnded)) throw error;
      await destroyPair(parts, pair);
      return makeInQueue(parts, loan, pair);
    }
    loan.countStanding(2);
    const publicKey = await objects.alone((session) => seenPair(parts, session, pair));
    if (publicKey !== undefined) return { publicKey };
  }
  const cause = new Error(`${name.label} was made and is not seen`);
  throw new EscrowError('token-unavailable', undefined, { cause });
}

const MOST_TRIES = 5;

/** The DER SubjectPublicKeyInfo of a pair that another process has made; undefined when not both halves are seen. */
async function seenPair(
  { driver, objects }: OpenParts,
  session: Handle,
  { privateKey: name, publicKey: publicName }: OneTimePair,
): Promise<Buffer | undefined> {
  // one search for both halves
  const halves = await objects.search(
    session,
    name.template.filter(({ type }) => type !== pkcs11.CKA_CLASS),
  );
  const ofClass = (objectClass: number): readonly Handle[] =>
    halves.filter((half) =>
      readAttribute(driver, session, half, pkcs11.CKA_CLASS)?.equals(ulongs(objectClass)),
    );
  const handle = objects.check.only(session, name, ofClass(pkcs11.CKO_PRIVATE_KEY));
  const [other] = ofClass(pkcs11.CKO_PUBLIC_KEY);
  if (handle === undefined || other === undefined) return undefined;
  objects.add(name, { handle, publicKey: undefined });
  objects.add(publicName, { handle: other, publicKey: undefined });
  // of the half that was checked: anybody with the PIN can put a public key under the label
  return readRsaSpki(driver, session, handle);
}

/** The same with the queue of token objects held while the pair is made, a second or so. */
function makeInQueue(
  parts: OpenParts,
  loan: Loan,
  { privateKey: name, publicKey: publicName }: OneTimePair,
): Promise<{ readonly publicKey: Uint8Array }> {
  const { driver, mechanisms, dialect, objects } = parts;
  return objects.alone(async (session) => {
    await requireAbsent(parts, session, name);
    const asked = oneTimePair(name.label, mechanisms.oneTime());
    const { publicKey, privateKey } = dialect.pair(asked);
    const mechanism = mechanisms.plain('rsaKeyPairGen');
    const pair = await parts.generatePair(session, mechanism, publicKey, privateKey);
    loan.countStanding(2);
    requireKept(driver, session, pair.privateKey, dialect.kept(asked.privateKey));
    objects.add(name, { handle: pair.privateKey, publicKey: undefined });
    objects.add(publicName, { handle: pair.publicKey, publicKey: undefined });
    return { publicKey: readRsaSpki(driver, session, pair.publicKey) };
  });
}

async function requireAbsent({ objects }: OpenParts, session: Handle, name: ObjectName): Promise<void> {
  if (await objects.isAbsent(session, name)) return;
  throw new EscrowError('internal', 'The one-time key stands in the token already.');
}

/** Destroys all of these names. What is not there is gone only if the token works: an empty answer alone says nothing. */
export async function destroyAll(
  { objects, health }: OpenParts,
  names: readonly ObjectName[],
  known: 'any' | 'every',
): Promise<void> {
  await objects.alone(async (session) => {
    if ((await objects.destroy(session, names, known)) === 0) await health.checkIn(session);
  });
}
