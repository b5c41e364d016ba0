import { constants, createHash, publicEncrypt, randomBytes, verify } from 'node:crypto';
import type { Handle } from 'pkcs11js';
import { EscrowError } from '../../escrow/records/errors.js';
import type { ImportId } from '../../escrow/records/ids.js';
import {
  type ImportableSpec,
  KEY_SPECS,
  CHECK_VALUE_BYTES,
  SECRET_CHECK_TEXT,
} from '../../escrow/records/keySpecs.js';
import type { TokenVerbs } from '../../escrow/ports/token.js';
import { sameBytes } from '../../log/tree/merkle.js';
import { CKR, readFault } from '../cryptoki/faults.js';
import { readSpki } from '../cryptoki/spki.js';
import { objectNames } from '../objects/objectNames.js';
import type { OpenParts } from '../objects/openParts.js';
import { OtherKey, unwrapChecked } from '../objects/unwrapChecked.js';
import { TOKEN_RSA } from '../profile/templateParts.js';
import { grantKey, importingKey, userInFlight } from '../profile/templates.js';
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
    const { use, mechanism } = PROOFS[KEY_SPECS[spec].kind];
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

  return {
    createImportPair: (id) => makeOneTimePair(parts, loan, importPairOf(id)),
    destroyImportPair: (id) => destroyPair(parts, importPairOf(id)),

    unwrapImported: async (order) => {
      const unwrapped = await openBoth(order);
      if ('refused' in unwrapped) return unwrapped;
      const { key, proving } = unwrapped.opened;
      const proof = await openedOrRefused(parts, () => prove(parts, loan, proving, order));
      return { opened: { key, isClaimed: 'opened' in proof && proof.opened } };
    },

    unwrapSecret: async ({ pair, wrapped, checkValue }) => {
      if (!parts.profile.keySpecs.includes('secret')) throw new EscrowError('key-spec-unsupported');
      const unwrapped = await openBoth({ pair, wrapped, spec: 'secret' });
      if ('refused' in unwrapped) return unwrapped;
      const { key, proving } = unwrapped.opened;
      const proof = await openedOrRefused(parts, () => checkValueOf(parts, loan, proving));
      return { opened: { key, isClaimed: 'opened' in proof && sameBytes(proof.opened, checkValue) } };
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

/**
 * How a key of each kind is proven. Where it can decrypt it need not sign: what it signs is there for as long as anybody keeps it.
 */
const PROOFS = {
  RSA: { use: 'decrypt', mechanism: 'rsaOaep' },
  EC: { use: 'sign', mechanism: 'ecdsa' },
  SECRET: { use: 'sign', mechanism: 'sha256Hmac' },
} as const;

/** HMAC-SHA-256 of a fixed text under a secret in its frame. */
function checkValueOf({ driver, mechanisms }: OpenParts, loan: Loan, key: Handle): Promise<Buffer> {
  return loan.step((session) => {
    driver.C_SignInit(session, mechanisms.plain('sha256Hmac'), key);
    return Buffer.from(
      driver.C_Sign(session, Buffer.from(SECRET_CHECK_TEXT), Buffer.alloc(CHECK_VALUE_BYTES)),
    );
  });
}

const CHALLENGE_BYTES = 32;

/** Whether this key is the private half of what is claimed. Nothing that it makes leaves the process. */
async function prove(
  parts: OpenParts,
  loan: Loan,
  key: Handle,
  { spec, claimed, pair }: Parameters<ImportVerbs['unwrapImported']>[0],
): Promise<boolean> {
  const { driver, mechanisms, profile } = parts;
  const publicKey = readSpki(claimed);
  if (publicKey === undefined) return false;
  const row = KEY_SPECS[spec];
  if ('modulusBits' in row) {
    const challenge = randomBytes(CHALLENGE_BYTES);
    const oaepHash = profile.oaep === 'RSA-OAEP' ? 'sha1' : 'sha256';
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    const sent = publicEncrypt({ key: publicKey, oaepHash, padding }, challenge);
    return loan.step((session) => {
      driver.C_DecryptInit(session, mechanisms.oaep(), key);
      return driver.C_Decrypt(session, sent, Buffer.alloc(row.modulusBits / 8)).equals(challenge);
    });
  }
  const text = Buffer.from(`escrowd import proof\n${pair}\n`);
  const digest = createHash('sha256').update(text).digest();
  const signature = await loan.step((session) => {
    driver.C_SignInit(session, mechanisms.plain('ecdsa'), key);
    return Buffer.from(driver.C_Sign(session, digest, Buffer.alloc(2 * row.orderBytes)));
  });
  return verify('sha256', text, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature);
}
