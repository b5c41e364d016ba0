import pkcs11 from 'pkcs11js';
import type { Handle, Mechanism } from 'pkcs11js';
import { EscrowError } from '../../escrow/records/errors.js';
import type { RecoveryId } from '../../escrow/records/ids.js';
import type { Opened, TokenVerbs } from '../../escrow/ports/token.js';
import { type Held, type Opener, type Sealed, sealed } from '../../escrow/records/sealed.js';
import { ulongs } from '../cryptoki/attributes.js';
import { isKekFor, kekKindFor } from '../profile/keks.js';
import type { HeldKind, Loan } from './loan.js';
import { GCM } from '../profile/mechanisms.js';
import { type ObjectName, objectNames } from '../objects/objectNames.js';
import { readRsaSpki } from '../objects/objects.js';
import { readAttribute } from '../objects/objectCheck.js';
import { type PairMaker, PairMakerEnded } from '../objects/pairMaker.js';
import { grantKey, openingKey, unwrappingPair, userInFlight } from '../profile/templates.js';
import { type Unwrapping, OtherKey, requireKept, unwrapChecked } from '../objects/unwrapChecked.js';
import type { OpenParts } from '../objects/openParts.js';
import { fitsKeyWrap, fitsLayer, fitsTokenRsa } from './limits.js';

/** The verbs that bring a key back. */
export type RecoveryVerbs = Pick<
  TokenVerbs,
  | 'createTransport'
  | 'destroyTransport'
  | 'unwrapReply'
  | 'openUnder'
  | 'unwrapLayer'
  | 'raiseGrant'
  | 'destroyGrant'
  | 'unwrapForRelease'
>;

const REFUSED = { refused: true } as const;

export function recoveryVerbs(parts: OpenParts, loan: Loan): RecoveryVerbs {
  const { driver, mechanisms, objects } = parts;
  const intoOpener = openingKey(mechanisms.number('aesGcm'));

  const unwrapWith = <Kind extends HeldKind>(
    kind: Kind,
    key: ObjectName,
    missing: () => EscrowError,
    order: Omit<Unwrapping, 'with'>,
  ): Promise<Opened<Held<Kind>>> =>
    objects.using(key, confirmedBy(parts, missing), (handle) =>
      openedOrRefused(parts, async () => {
        const opened = await loan.step((session) =>
          unwrapChecked(parts, session, { ...order, with: handle }),
        );
        return loan.hold(kind, opened);
      }),
    );

  return {
    createTransport: (recovery) =>
      objects.making(objectNames.transport(recovery), () =>
        parts.pairMaker?.isAtWork === true
          ? makeTransportApart(parts, loan, parts.pairMaker, recovery)
          : makeTransportInQueue(parts, loan, recovery),
      ),

    destroyTransport: (recovery) => destroyAll(parts, transportNames(recovery), 'every'),

    unwrapReply: async (recovery, reply) => {
      if (!fitsTokenRsa(reply)) return REFUSED;
      const order = { mechanism: mechanisms.oaep(), wrapped: reply, into: intoOpener, spec: undefined };
      const gone = (): EscrowError => new EscrowError('token-object-missing');
      return unwrapWith('share-key', objectNames.transport(recovery), gone, order);
    },

    openUnder: async <By extends 'share-key' | 'layer-key', Inner extends Opener>(
      key: Held<By>,
      layer: Sealed<By>,
      aad: Uint8Array,
      inner: Inner,
    ): Promise<Opened<Sealed<Inner>>> => {
      const handle = loan.handleOf(key);
      if (!fitsLayer(layer)) return REFUSED;
      const iv = Buffer.from(layer.subarray(0, GCM.ivBytes));
      const body = Buffer.from(layer.subarray(GCM.ivBytes));
      return openedOrRefused(parts, async () => {
        const opened = await loan.step((session) => {
          driver.C_DecryptInit(session, mechanisms.gcm(iv, Buffer.from(aad)), handle);
          return Buffer.from(driver.C_Decrypt(session, body, Buffer.alloc(body.length)));
        });
        return sealed(inner, opened);
      });
    },

    unwrapLayer: async ({ depositary, version }, layer) => {
      if (!fitsTokenRsa(layer)) return REFUSED;
      const order = { mechanism: mechanisms.oaep(), wrapped: layer, into: intoOpener, spec: undefined };
      const gone = (): EscrowError => new EscrowError('token-object-missing');
      return unwrapWith('layer-key', objectNames.serverFor(depositary, version), gone, order);
    },

    raiseGrant: async ({ grant, wrapped, spec, use, mechanisms: granted }) => {
      const kind = kekKindFor('operate', spec, use);
      if (!isKekFor(wrapped.kek, kind) || !fitsKeyWrap(wrapped.sealed)) return REFUSED;
      const label = `grant:${grant}`;
      const name = objectNames.grant(grant, spec);
      const into = grantKey(label, spec, use, mechanisms.allowed(granted));
      const order = { mechanism: kwp(parts), wrapped: wrapped.sealed, into, spec };
      return objects.using(objectNames.kek(wrapped.kek), confirmedBy(parts, kekGone), (kek) =>
        openedOrRefused(parts, () =>
          objects.alone(async (session) => {
            if (!(await objects.isAbsent(session, name))) {
              throw new EscrowError('internal', 'The grant stands in the token already.');
            }
            const handle = unwrapChecked(parts, session, { ...order, with: kek });
            loan.countStanding(1);
            objects.add(name, { handle, publicKey: undefined });
          }),
        ),
      );
    },

    destroyGrant: (grant) =>
      destroyAll(parts, [objectNames.grant(grant, 'rsa-2048'), objectNames.grant(grant, 'aes-256')], 'any'),

    unwrapForRelease: async ({ wrapped, spec }) => {
      const kind = kekKindFor('release', spec, 'decrypt');
      if (!isKekFor(wrapped.kek, kind) || !fitsKeyWrap(wrapped.sealed)) return REFUSED;
      const into = userInFlight(spec, mechanisms.number('keyWrapWithPadding'));
      const order = { mechanism: kwp(parts), wrapped: wrapped.sealed, into, spec };
      return unwrapWith('user-key', objectNames.kek(wrapped.kek), kekGone, order);
    },
  };
}

/**
 * The pair is born in the token under its label: MODIFIABLE and COPYABLE are false, so a ready one could be neither renamed nor
 * copied, and SoftHSM 2.6.1 makes no copy that is not COPYABLE itself. Nor can it be made on another thread beside what finds and
 * destroys: SoftHSM fails one pair in a hundred (CKR_GENERAL_ERROR), and leaves files. So another process makes it, and the queue
 * of token objects is held only to look before and after. One that is made and not seen is made again: SoftHSM takes another
 * process's change for its own now and then, until there is one more. When the other process ends meanwhile, by a fault of the
 * token as well, what it may have begun is destroyed and the pair is made in the queue.
 */
async function makeTransportApart(
  parts: OpenParts,
  loan: Loan,
  maker: PairMaker,
  recovery: RecoveryId,
): Promise<{ readonly publicKey: Uint8Array }> {
  const { objects } = parts;
  const name = objectNames.transport(recovery);
  await objects.alone((session) => requireAbsent(parts, session, name));
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    try {
      await maker.make(name.label);
    } catch (error) {
      if (!(error instanceof PairMakerEnded)) throw error;
      await destroyAll(parts, transportNames(recovery), 'every');
      return makeTransportInQueue(parts, loan, recovery);
    }
    loan.countStanding(2);
    const publicKey = await objects.alone((session) => seenTransport(parts, session, recovery));
    if (publicKey !== undefined) return { publicKey };
  }
  const cause = new Error(`${name.label} was made and is not seen`);
  throw new EscrowError('token-unavailable', undefined, { cause });
}

const MOST_TRIES = 5;

/** The DER SubjectPublicKeyInfo of a pair that another process has made; undefined when not both halves are seen. */
async function seenTransport(
  { driver, objects }: OpenParts,
  session: Handle,
  recovery: RecoveryId,
): Promise<Buffer | undefined> {
  const [name, publicName] = [objectNames.transport(recovery), objectNames.transportPublic(recovery)];
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

function transportNames(recovery: RecoveryId): readonly ObjectName[] {
  return [objectNames.transport(recovery), objectNames.transportPublic(recovery)];
}

/** The same with the queue of token objects held while the pair is made, a second or so. */
function makeTransportInQueue(
  parts: OpenParts,
  loan: Loan,
  recovery: RecoveryId,
): Promise<{ readonly publicKey: Uint8Array }> {
  const { driver, mechanisms, dialect, objects } = parts;
  const name = objectNames.transport(recovery);
  return objects.alone(async (session) => {
    await requireAbsent(parts, session, name);
    const asked = unwrappingPair(name.label, mechanisms.opening());
    const { publicKey, privateKey } = dialect.pair(asked);
    const mechanism = mechanisms.plain('rsaKeyPairGen');
    const pair = await parts.generatePair(session, mechanism, publicKey, privateKey);
    loan.countStanding(2);
    requireKept(driver, session, pair.privateKey, dialect.kept(asked.privateKey));
    objects.add(name, { handle: pair.privateKey, publicKey: undefined });
    objects.add(objectNames.transportPublic(recovery), { handle: pair.publicKey, publicKey: undefined });
    return { publicKey: readRsaSpki(driver, session, pair.publicKey) };
  });
}

async function requireAbsent({ objects }: OpenParts, session: Handle, name: ObjectName): Promise<void> {
  if (await objects.isAbsent(session, name)) return;
  throw new EscrowError('internal', 'The recovery request has a transport key already.');
}

/** What to throw for an object that is not there, once the token has shown that it can look at all. */
export function confirmedBy(parts: OpenParts, missing: () => EscrowError): () => Promise<EscrowError> {
  return async () => {
    await parts.health.check();
    return missing();
  };
}

/** Runs a step on a ciphertext; a failure that the ciphertext is to blame for is an answer. */
export async function openedOrRefused<T>(parts: OpenParts, open: () => Promise<T>): Promise<Opened<T>> {
  try {
    return { opened: await open() };
  } catch (error) {
    if (error instanceof EscrowError && error.cause instanceof OtherKey) return REFUSED;
    return parts.health.refusal(error);
  }
}

/** Destroys all of these names. What is not there is gone only if the token works: an empty answer alone says nothing. */
async function destroyAll(
  { objects, health }: OpenParts,
  names: readonly ObjectName[],
  known: 'any' | 'every',
): Promise<void> {
  await objects.alone(async (session) => {
    if ((await objects.destroy(session, names, known)) === 0) await health.checkIn(session);
  });
}

function kwp(parts: OpenParts): Mechanism {
  return parts.mechanisms.plain('keyWrapWithPadding');
}

function kekGone(): EscrowError {
  const cause = new Error('a key-encryption key is not in the token');
  return new EscrowError('token-unavailable', undefined, { cause });
}
