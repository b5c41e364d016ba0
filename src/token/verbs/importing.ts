import type { Handle } from 'pkcs11js';
import { EscrowError } from '../../escrow/records/errors.js';
import type { ImportId } from '../../escrow/records/ids.js';
import type { ImportableSpec } from '../../escrow/records/keySpecs.js';
import type { TokenVerbs } from '../../escrow/ports/token.js';
import { CKR, readFault } from '../cryptoki/faults.js';
import { objectNames } from '../objects/objectNames.js';
import type { OpenParts } from '../objects/openParts.js';
import { OtherKey, unwrapChecked } from '../objects/unwrapChecked.js';
import { TOKEN_RSA } from '../profile/templateParts.js';
import { grantKey, importingKey, userInFlight } from '../profile/templates.js';
import { type KnownKey, isKnownKey, proofOf } from './keyProofs.js';
import { fitsKeyWrap } from './limits.js';
import type { Loan } from './loan.js';
import { type OneTimePair, destroyPair, makeOneTimePair } from './oneTimePairs.js';
import { confirmedBy, openedOrRefused } from './recovery.js';

/** The verbs that take a key from outside. */
export type ImportVerbs = Pick<
  TokenVerbs,
  'createImportPair' | 'destroyImportPair' | 'unwrapImported' | 'unwrapSecret'
>;

const importPairOf = (id: ImportId): OneTimePair => ({
  privateKey: objectNames.importing(id),
  publicKey: objectNames.importingPublic(id),
});

export function importVerbs(parts: OpenParts, loan: Loan): ImportVerbs {
  const { mechanisms, objects } = parts;
  const kwpNumber = mechanisms.number('keyWrapWithPadding');

  /** The two steps of CKM_RSA_AES_KEY_WRAP: not every token has the mechanism that does both. */
  const unwrapBoth = async (
    pair: Handle,
    { wrapped, spec }: { readonly wrapped: Uint8Array; readonly spec: ImportableSpec | 'secret' },
  ) => {
    const transfer = await loan.step((session) =>
      unwrapChecked(parts, session, {
        mechanism: mechanisms.oaep(),
        with: pair,
        wrapped: wrapped.subarray(0, TOKEN_RSA.ciphertextBytes),
        into: importingKey(kwpNumber),
        spec: undefined,
      }),
    );
    loan.discardLater(transfer);
    const under = {
      mechanism: mechanisms.plain('keyWrapWithPadding'),
      with: transfer,
      wrapped: wrapped.subarray(TOKEN_RSA.ciphertextBytes),
      spec,
    };
    const key = loan.hold(
      'user-key',
      await loan.step((session) =>
        unwrapChecked(parts, session, { ...under, into: userInFlight(spec, kwpNumber) }),
      ),
    );
    // the key that is kept has no use, and gets none: the same ciphertext once more has the one that proves it
    const { use, mechanism } = proofOf(spec, false);
    const into = grantKey(undefined, spec, use, [mechanisms.number(mechanism)]);
    const proving = await loan.step((session) => unwrapChecked(parts, session, { ...under, into }));
    loan.discardLater(proving);
    return { key, proving };
  };

  const openBoth = async (order: Parameters<typeof unwrapBoth>[1] & { readonly pair: ImportId }) => {
    const body = order.wrapped.subarray(TOKEN_RSA.ciphertextBytes);
    if (!fitsKeyWrap(body)) return { refused: true } as const;
    const gone = (): EscrowError => new EscrowError('token-object-missing');
    const name = objectNames.importing(order.pair);
    return objects.using(name, confirmedBy(parts, gone), (pair) =>
      openedOrRefused(parts, () => blamingContent(parts, unwrapBoth(pair, order))),
    );
  };

  const isProven = async (
    pair: ImportId,
    key: Handle,
    spec: ImportableSpec | 'secret',
    known: KnownKey,
  ): Promise<boolean> => {
    const of = { spec, proof: proofOf(spec, false), known, text: `escrowd import proof\n${pair}\n` };
    const proof = await openedOrRefused(parts, () =>
      loan.step((session) => isKnownKey(parts, session, key, of)),
    );
    return 'opened' in proof && proof.opened;
  };

  return {
    createImportPair: (id) => makeOneTimePair(parts, loan, importPairOf(id)),
    destroyImportPair: (id) => destroyPair(parts, importPairOf(id)),

    unwrapImported: async (order) => {
      const unwrapped = await openBoth(order);
      if ('refused' in unwrapped) return unwrapped;
      const { key, proving } = unwrapped.opened;
      const { spec, claimed } = order;
      return {
        opened: { key, isClaimed: await isProven(order.pair, proving, spec, { publicKey: claimed }) },
      };
    },

    unwrapSecret: async ({ pair, wrapped, checkValue }) => {
      if (!parts.profile.keySpecs.includes('secret')) throw new EscrowError('key-spec-unsupported');
      const unwrapped = await openBoth({ pair, wrapped, spec: 'secret' });
      if ('refused' in unwrapped) return unwrapped;
      const { key, proving } = unwrapped.opened;
      return { opened: { key, isClaimed: await isProven(pair, proving, 'secret', { checkValue }) } };
    },
  };
}

/** What NSS says of a private key that is of another form or kind than was asked for, as if that had been asked for wrongly. */
const OF_CONTENT: ReadonlySet<number> = new Set([CKR.CKR_TEMPLATE_INCOMPLETE, CKR.CKR_DOMAIN_PARAMS_INVALID]);

/** While the token works, what it says of the key that comes out is said of the key. */
async function blamingContent<T>(parts: OpenParts, unwrapping: Promise<T>): Promise<T> {
  try {
    return await unwrapping;
  } catch (error) {
    const fault = readFault(error);
    if (fault === undefined || !OF_CONTENT.has(fault.code)) throw error;
    await parts.health.check();
    throw new EscrowError('token-unavailable', undefined, { cause: new OtherKey(fault.name) });
  }
}
