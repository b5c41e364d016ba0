import type { Handle } from 'pkcs11js';
import type { Opened, TokenVerbs } from '../../escrow/ports/token.js';
import { isKekFor, kekKindFor } from '../../escrow/records/sealing/keks.js';
import { objectNames } from '../objects/objectNames.js';
import type { OpenParts } from '../objects/openParts.js';
import { unwrapChecked } from '../objects/unwrapChecked.js';
import { grantKey, provingKey, userInFlight } from '../profile/templates.js';
import { isKnownKey, proofOf } from './keyProofs.js';
import { fitsKeyWrap } from './limits.js';
import { isSameAs, wrapOnce } from './wrapping.js';
import type { Loan } from './loan.js';
import { confirmedBy, kekMissing, openedOrRefused } from './recovery.js';

/** The verb that shows that what lies under a key-encryption key is the key. */
export type WrappedVerbs = Pick<TokenVerbs, 'proveWrapped'>;

/** What is signed where a key has no other use. It is no message of anybody's. */
const TEXT = 'escrowd: this key comes back from its deposit\n';
const REFUSED = { refused: true } as const;

export function wrappedVerbs(parts: OpenParts, loan: Loan): WrappedVerbs {
  const { driver, mechanisms, dialect } = parts;
  const mechanism = mechanisms.plain('keyWrapWithPadding');

  return {
    proveWrapped: async ({ wrapped, purpose, spec, use, made, ...known }): Promise<Opened<void>> => {
      const kind = kekKindFor(purpose, spec, use);
      if (!isKekFor(wrapped.kek, kind) || !fitsKeyWrap(wrapped.sealed)) return REFUSED;
      const proof = proofOf(spec, purpose === 'operate' && use === 'sign');
      const into = grantKey(undefined, spec, proof.use, [mechanisms.number(proof.mechanism)]);
      const original = made && loan.handleOf(made);

      const isProven = (session: Handle, kek: Handle, flying: Handle[]): boolean => {
        const wrap = (wrapping: Handle, key: Handle): Buffer =>
          wrapOnce(driver, session, mechanism, { wrapping, key });
        const unwrap = (by: Handle, ciphertext: Uint8Array, template: typeof into): Handle => {
          const order = { mechanism, with: by, wrapped: ciphertext, into: template, spec };
          const key = unwrapChecked(parts, session, order);
          flying.push(key);
          return key;
        };
        // RFC 5649 has no randomness: the same key under the same key is the same bytes
        if (original !== undefined && !isSameAs(wrapped.sealed, wrap(kek, original))) return false;
        const of = { spec, proof, known, text: TEXT };
        if (purpose === 'operate') {
          return isKnownKey(parts, session, unwrap(kek, wrapped.sealed, into), of);
        }
        const bare = unwrap(kek, wrapped.sealed, userInFlight(spec, mechanism.mechanism));
        const template = dialect.template(provingKey(mechanism.mechanism));
        const between = driver.C_GenerateKey(session, mechanisms.plain('aesKeyGen'), template);
        flying.push(between);
        return isKnownKey(parts, session, unwrap(between, wrap(between, bare), into), of);
      };

      const missing = confirmedBy(parts, kekMissing(parts, wrapped.kek));
      const proven = await parts.objects.using(objectNames.kek(wrapped.kek), missing, (kek) =>
        openedOrRefused(parts, () =>
          loan.step((session) => {
            const flying: Handle[] = [];
            try {
              return isProven(session, kek, flying);
            } finally {
              for (const key of flying) driver.C_DestroyObject(session, key);
            }
          }),
        ),
      );
      return 'opened' in proven && proven.opened ? { opened: undefined } : REFUSED;
    },
  };
}
