import type { Handle } from 'pkcs11js';
import { EscrowError } from '../../escrow/records/errors.js';
import { isKekFor, isOperate, kekKindFor, readKekLabel } from '../../escrow/records/sealing/keks.js';
import type { KekKind } from '../../escrow/records/sealing/keks.js';
import type { KeySpec } from '../../escrow/records/keySpecs.js';
import type { TokenVerbs } from '../../escrow/ports/token.js';
import { sealed } from '../../escrow/records/sealing/sealed.js';
import type { Template } from '../cryptoki/attributes.js';
import { isStaleHandle } from '../cryptoki/faults.js';
import { rotatingUser } from '../profile/keks.js';
import { userInFlight } from '../profile/templates.js';
import { type ObjectName, objectNames } from '../objects/objectNames.js';
import type { OpenParts } from '../objects/openParts.js';
import { unwrapChecked } from '../objects/unwrapChecked.js';
import { fitsKeyWrap } from './limits.js';
import { isSameAs, wrapOnce } from './wrapping.js';
import type { Loan } from './loan.js';
import { confirmedBy, kekMissing, openedOrRefused } from './recovery.js';

/** The verb by which a key goes from one key-encryption key to another. */
export type RotationVerbs = Pick<TokenVerbs, 'rewrap'>;

/** By what a key comes out of its ciphertext, to go under another key-encryption key, and as what. */
interface WayOut {
  readonly opener: (kek: string) => ObjectName;
  readonly into: Template;
}

export function rotationVerbs(parts: OpenParts, loan: Loan): RotationVerbs {
  const { driver, mechanisms } = parts;
  const mechanism = mechanisms.plain('keyWrapWithPadding');
  const wayOutOf = (kind: KekKind, spec: KeySpec): WayOut =>
    isOperate(kind)
      ? { opener: (kek) => objectNames.rotating(kek, kind), into: rotatingUser(kind, spec) }
      : { opener: objectNames.kek, into: userInFlight(spec, mechanism.mechanism) };

  return {
    rewrap: async ({ wrapped, purpose, spec, use, to }) => {
      const kind = kekKindFor(purpose, spec, use);
      if (!isKekFor(wrapped.kek, kind) || !fitsKeyWrap(wrapped.sealed)) return { refused: true };
      if (readKekLabel(to)?.kind !== kind || to === wrapped.kek) {
        throw new EscrowError('internal', 'A key goes to another key-encryption key of its kind.');
      }
      const { opener, into } = wayOutOf(kind, spec);
      const names = {
        from: objectNames.kek(wrapped.kek),
        out: opener(wrapped.kek),
        to: objectNames.kek(to),
        back: opener(to),
      };
      return usingAll(parts, names, (handles) =>
        openedOrRefused(parts, () =>
          loan.step((session) => {
            const made: Handle[] = [];
            const unwrap = (by: Handle, ciphertext: Uint8Array): Handle => {
              const key = unwrapChecked(parts, session, {
                mechanism,
                with: by,
                wrapped: ciphertext,
                into,
                spec,
              });
              made.push(key);
              return key;
            };
            const wrap = (wrapping: Handle, key: Handle): Buffer =>
              wrapOnce(driver, session, mechanism, { wrapping, key });
            try {
              const key = unwrap(handles.out, wrapped.sealed);
              const under = notOfCiphertext(() => {
                const made = wrap(handles.to, key);
                const before = wrap(handles.from, key);
                const isSame = isSameAs(before, wrap(handles.from, unwrap(handles.back, made)));
                before.fill(0);
                if (isSame) return made;
                throw new Error('a key came out of its new key-encryption key as another one');
              });
              return { sealed: sealed('kek', under), kek: to };
            } finally {
              for (const key of made) driver.C_DestroyObject(session, key);
            }
          }),
        ),
      );
    },
  };
}

/**
 * What went under the new KEK must come out of it as the key that went in, since the ciphertext under the old one is thrown away
 * then: under one KEK both are the same bytes (RFC 5649 has no randomness). Once the ciphertext has opened, nothing that goes wrong
 * is its fault, and ends a request. A handle that names nothing any more is looked for again by who asked.
 */
function notOfCiphertext<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (isStaleHandle(error)) throw error;
    const cause = new Error('not rotated', { cause: error });
    throw new EscrowError(
      'token-unavailable',
      'The token did not put a key under another key-encryption key.',
      { cause },
    );
  }
}

async function usingAll<Name extends string, T>(
  parts: OpenParts,
  names: Readonly<Record<Name, ObjectName>>,
  work: (handles: Readonly<Record<Name, Handle>>) => Promise<T>,
): Promise<T> {
  const rows = Object.entries<ObjectName>(names);
  const found: Partial<Record<string, Handle>> = {};
  const next = (at: number): Promise<T> => {
    const row = rows[at];
    // each of the names has its handle by now
    if (row === undefined) return work(found as Readonly<Record<Name, Handle>>);
    const [name, object] = row;
    return parts.objects.using(object, confirmedBy(parts, kekMissing(parts, object.label)), (handle) => {
      found[name] = handle;
      return next(at + 1);
    });
  };
  return next(0);
}
