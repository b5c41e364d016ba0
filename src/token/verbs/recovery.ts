import type { Mechanism } from 'pkcs11js';
import { EscrowError } from '../../escrow/records/errors.js';
import type { RecoveryId } from '../../escrow/records/ids.js';
import type { Opened, TokenVerbs } from '../../escrow/ports/token.js';
import { type Held, type Opener, type Sealed, sealed } from '../../escrow/records/sealing/sealed.js';
import { isKekFor, kekKindFor } from '../../escrow/records/sealing/keks.js';
import type { HeldKind, Loan } from './loan.js';
import { GCM } from '../profile/mechanisms.js';
import { type ObjectName, objectNames, serverForLabel } from '../objects/objectNames.js';
import { grantKey, openingKey, userInFlight } from '../profile/templates.js';
import { type Unwrapping, OtherKey, unwrapChecked } from '../objects/unwrapChecked.js';
import type { OpenParts } from '../objects/openParts.js';
import { fitsKeyWrap, fitsLayer, fitsTokenRsa } from './limits.js';
import { type OneTimePair, destroyAll, destroyPair, makeOneTimePair } from './oneTimePairs.js';

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

const transportPair = (recovery: RecoveryId): OneTimePair => ({
  privateKey: objectNames.transport(recovery),
  publicKey: objectNames.transportPublic(recovery),
});

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
    createTransport: (recovery) => makeOneTimePair(parts, loan, transportPair(recovery)),

    destroyTransport: (recovery) => destroyPair(parts, transportPair(recovery)),

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
          const room = Buffer.alloc(body.length);
          try {
            return Buffer.from(driver.C_Decrypt(session, body, room));
          } finally {
            // it may be the key under its key-encryption key
            room.fill(0);
          }
        });
        return sealed(inner, opened);
      });
    },

    unwrapLayer: async ({ depositary, version }, layer) => {
      if (!fitsTokenRsa(layer)) return REFUSED;
      const order = { mechanism: mechanisms.oaep(), wrapped: layer, into: intoOpener, spec: undefined };
      const gone = (): EscrowError =>
        new EscrowError(
          'token-object-missing',
          `The token does not hold the server's key regarding ${depositary} that this was sealed to.`,
          { cause: new Error(`${serverForLabel(depositary, version)} is not in the token`) },
        );
      return unwrapWith('layer-key', objectNames.serverFor(depositary, version), gone, order);
    },

    raiseGrant: async ({ grant, wrapped, spec, use, mechanisms: granted }) => {
      const kind = kekKindFor('operate', spec, use);
      if (!isKekFor(wrapped.kek, kind) || !fitsKeyWrap(wrapped.sealed)) return REFUSED;
      const label = `grant:${grant}`;
      const name = objectNames.grant(grant, spec);
      const into = grantKey(label, spec, use, mechanisms.allowed(granted));
      const order = { mechanism: kwp(parts), wrapped: wrapped.sealed, into, spec };
      return objects.using(
        objectNames.kek(wrapped.kek),
        confirmedBy(parts, kekMissing(parts, wrapped.kek)),
        (kek) =>
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
      return unwrapWith('user-key', objectNames.kek(wrapped.kek), kekMissing(parts, wrapped.kek), order);
    },
  };
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

function kwp(parts: OpenParts): Mechanism {
  return parts.mechanisms.plain('keyWrapWithPadding');
}

/** What to throw for a key-encryption key, or its rotating handle, that is not there: it was destroyed, or the ceremony never made it. */
export function kekMissing(parts: OpenParts, label: string): () => EscrowError {
  return () => {
    parts.heldKeks.forget();
    return new EscrowError(
      'token-object-missing',
      `The token does not hold ${label}, which this is sealed under.`,
      { cause: new Error(`${label} is not in the token`) },
    );
  };
}
