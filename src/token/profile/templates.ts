import pkcs11 from 'pkcs11js';
import { type KeySpec, type Operation, KEY_SPECS, isSymmetric } from '../../escrow/records/keySpecs.js';
import { type Template, nested } from '../cryptoki/attributes.js';
import { CURVES } from '../cryptoki/spki.js';
import type { PairTemplate } from './templateParts.js';
import {
  AES_256,
  allowing,
  extractable,
  fixed,
  GUARDED,
  IN_FLIGHT,
  inToken,
  keyTypeOf,
  kind,
  kindOf,
  only,
  onlyUnderTrusted,
  OPEN_TO_SEE,
  PRIVATE_USES,
  PUBLIC_USES,
  SECRET_AES,
  SECRET_USES,
  TOKEN_RSA,
} from './templateParts.js';

/**
 * RSA-3072 pairs that unwrap what never leaves again: `server-for:<id>:vN` (ceremony) and `transport:<recovery>`
 * (daemon); without a label, a pair in flight. What the private half unwraps can open a layer, and nothing else: not
 * unwrap, not decrypt block by block (which would do as well), not be kept, copied or changed.
 */
export function unwrappingPair(
  label: string | undefined,
  { oaep, gcm }: { readonly oaep: number; readonly gcm: number },
): PairTemplate {
  return pairThatUnwraps(label, oaep, opening(gcm));
}

/** `import:<id>` (daemon); without a label, a pair in flight. What the private half unwraps can unwrap one key, and nothing else. */
export function importPair(
  label: string | undefined,
  { oaep, kwp }: { readonly oaep: number; readonly kwp: number },
): PairTemplate {
  return pairThatUnwraps(label, oaep, forcedOnImport(kwp));
}

/** A pair that is made on demand and used up: by its label, `import:<id>` or `transport:<recovery>`. */
export function oneTimePair(
  label: string,
  mechanisms: { readonly oaep: number; readonly gcm: number; readonly kwp: number },
): PairTemplate {
  return label.startsWith('import:') ? importPair(label, mechanisms) : unwrappingPair(label, mechanisms);
}

/** What the private half insists on when it unwraps is `forced`. */
function pairThatUnwraps(label: string | undefined, oaep: number, forced: Template): PairTemplate {
  const where = label === undefined ? IN_FLIGHT : inToken(label);
  return {
    publicKey: fixed(
      ...kind(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_RSA),
      ...where,
      ...OPEN_TO_SEE,
      { type: pkcs11.CKA_MODULUS_BITS, value: TOKEN_RSA.modulusBits },
      { type: pkcs11.CKA_PUBLIC_EXPONENT, value: Buffer.from([1, 0, 1]) },
      ...only(PUBLIC_USES, 'wrap'),
      ...allowing(oaep),
    ),
    privateKey: fixed(
      ...kind(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_RSA),
      ...where,
      ...GUARDED,
      ...extractable(false),
      ...only(PRIVATE_USES, 'unwrap'),
      ...allowing(oaep),
      ...nested(pkcs11.CKA_UNWRAP_TEMPLATE, forced),
    ),
  };
}

/** U, freshly made: may be wrapped for the length of one loan, and nothing else. */
export function userPair(spec: KeySpec, kwp: number): PairTemplate {
  const key = KEY_SPECS[spec];
  const numbers: Template =
    'modulusBits' in key
      ? [
          { type: pkcs11.CKA_MODULUS_BITS, value: key.modulusBits },
          { type: pkcs11.CKA_PUBLIC_EXPONENT, value: Buffer.from([1, 0, 1]) },
        ]
      : 'curve' in key
        ? [{ type: pkcs11.CKA_EC_PARAMS, value: CURVES[key.curve].params }]
        : [];
  return {
    publicKey: fixed(
      ...kind(pkcs11.CKO_PUBLIC_KEY, keyTypeOf(spec)),
      ...IN_FLIGHT,
      ...OPEN_TO_SEE,
      ...numbers,
      ...only(PUBLIC_USES),
    ),
    privateKey: userInFlight(spec, kwp),
  };
}

/** U as a symmetric key, freshly made. */
export function userSecret(kwp: number): Template {
  return [...AES_256, ...userInFlight('aes-256', kwp)];
}

/** U in flight, freshly made or unwrapped for a release: sensitive, extractable, without any use. */
export function userInFlight(spec: KeySpec, kwp: number): Template {
  return fixed(
    ...kindOf(spec),
    ...IN_FLIGHT,
    ...GUARDED,
    ...extractable(true),
    ...(isSymmetric(spec) ? only(SECRET_USES) : only(PRIVATE_USES)),
    ...allowing(kwp),
  );
}

/** R and L when they are made: seal, and go out under trusted keys only. */
export function sealingKey(gcm: number): Template {
  return fixed(
    ...SECRET_AES,
    ...AES_256,
    ...IN_FLIGHT,
    ...GUARDED,
    ...extractable(true),
    ...onlyUnderTrusted(true),
    ...only(SECRET_USES, 'encrypt'),
    ...allowing(gcm),
  );
}

/** R and L when they come back: open, and never go out again. */
export function openingKey(gcm: number): Template {
  return [...onlyUnderTrusted(true), ...opening(gcm)];
}

/** What the private half of an {@link unwrappingPair} insists on when it unwraps. */
export function opening(gcm: number): Template {
  return fixed(
    ...SECRET_AES,
    ...IN_FLIGHT,
    ...GUARDED,
    ...extractable(false),
    ...only(SECRET_USES, 'decrypt'),
    ...allowing(gcm),
  );
}

/** X of an import, as the private half of an {@link importPair} insists on. */
function forcedOnImport(kwp: number): Template {
  return fixed(
    ...SECRET_AES,
    ...IN_FLIGHT,
    ...GUARDED,
    ...extractable(false),
    ...only(SECRET_USES, 'unwrap'),
    ...allowing(kwp),
  );
}

/**
 * X of an import as it is unwrapped: what comes out of it is hidden as well. That cannot be forced, since no token takes a
 * template within a template: whoever has the PIN at this moment can leave it out, and read what is imported.
 */
export function importingKey(kwp: number): Template {
  return [...nested(pkcs11.CKA_UNWRAP_TEMPLATE, GUARDED), ...forcedOnImport(kwp)];
}

/** X: wraps one user key. To a depositary it goes out under a trusted key only; an owner's key is not trusted. */
export function transferKey(to: 'depositary' | 'owner', kwp: number): Template {
  return fixed(
    ...SECRET_AES,
    ...AES_256,
    ...IN_FLIGHT,
    ...GUARDED,
    ...extractable(true),
    ...onlyUnderTrusted(to === 'depositary'),
    ...only(SECRET_USES, 'wrap'),
    ...allowing(kwp),
  );
}

/**
 * A key in flight by which a key for release comes to the one use that proves it: what its key-encryption key brings out has none. Under
 * this one nothing comes out that goes anywhere.
 */
export function provingKey(kwp: number): Template {
  return fixed(
    ...SECRET_AES,
    ...AES_256,
    ...IN_FLIGHT,
    ...GUARDED,
    ...extractable(false),
    ...only(SECRET_USES, 'wrap', 'unwrap'),
    ...allowing(kwp),
    ...nested(pkcs11.CKA_UNWRAP_TEMPLATE, fixed(...IN_FLIGHT, ...GUARDED, ...extractable(false))),
  );
}

/** An owner's delivery key, in flight, to wrap X. */
export function deliveryKey(
  key: { readonly modulus: Buffer; readonly exponent: Buffer },
  oaep: number,
): Template {
  return fixed(
    ...kind(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_RSA),
    ...IN_FLIGHT,
    ...OPEN_TO_SEE,
    { type: pkcs11.CKA_MODULUS, value: key.modulus },
    { type: pkcs11.CKA_PUBLIC_EXPONENT, value: key.exponent },
    ...only(PUBLIC_USES, 'wrap'),
    ...allowing(oaep),
  );
}

/** `grant:<id>`; without a label, the same in flight. It signs or decrypts, and never goes out again. */
export function grantKey(
  label: string | undefined,
  spec: KeySpec,
  use: Operation,
  mechanisms: readonly number[],
): Template {
  return fixed(
    ...kindOf(spec),
    ...(label === undefined ? IN_FLIGHT : inToken(label)),
    ...GUARDED,
    ...extractable(false),
    ...(isSymmetric(spec) ? only(SECRET_USES, use) : only(PRIVATE_USES, use)),
    ...allowing(...mechanisms),
  );
}
