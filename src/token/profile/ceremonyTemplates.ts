import pkcs11 from 'pkcs11js';
import type { Purpose } from '../../escrow/records/policy.js';
import { type Template, nested } from '../cryptoki/attributes.js';
import { type KekKind, type OperateKind } from '../../escrow/records/sealing/keks.js';
import { kekUnwraps, rotatingUnwraps } from './keks.js';
import { CURVES } from '../cryptoki/spki.js';
import type { PairTemplate } from './templateParts.js';
import {
  AES_256,
  allowing,
  CKK_EC_EDWARDS,
  extractable,
  fixed,
  GUARDED,
  IN_FLIGHT,
  inToken,
  kind,
  only,
  OPEN_TO_SEE,
  PRIVATE_USES,
  PUBLIC_USES,
  SECRET_AES,
  SECRET_USES,
} from './templateParts.js';

const kek = (kwp: number, ...uses: readonly ('wrap' | 'unwrap')[]): Template => [
  ...SECRET_AES,
  ...AES_256,
  ...extractable(false),
  { type: pkcs11.CKA_SENSITIVE, value: true },
  ...only(SECRET_USES, ...uses),
  ...allowing(kwp),
];
const HIDDEN: Template = [{ type: pkcs11.CKA_PRIVATE, value: true }];
const TRUSTED: Template = [{ type: pkcs11.CKA_TRUSTED, value: true }];

/** `kek:<kind>:vN` that nothing rotates: of release, or in a token that agrees on no keys. */
export function kekTemplate(kind: KekKind, label: string, kwp: number): Template {
  return fixed(...kek(kwp, 'wrap', 'unwrap'), ...inToken(label), ...HIDDEN, ...kekUnwraps(kind));
}

/**
 * `kek:<kind>:vN` that can be rotated. Only the security officer can make a key trusted, and sees no private object: so this is
 * one in flight, {@link trustedKekCopy} the copy of it that the user then makes.
 */
export function trustedKekInFlight(kind: OperateKind, kwp: number): Template {
  return [...kek(kwp, 'wrap', 'unwrap'), ...IN_FLIGHT, ...OPEN_TO_SEE, ...TRUSTED, ...kekUnwraps(kind)];
}

/** What C_CopyObject is told of it. COPYABLE stays as it was: set here it is refused, set before there is no copy (SoftHSM). */
export function trustedKekCopy(label: string): Template {
  return [...inToken(label), ...HIDDEN, { type: pkcs11.CKA_MODIFIABLE, value: false }];
}

/** How such a copy reads. */
export function trustedKek(kind: OperateKind, label: string, kwp: number): Template {
  return [...kek(kwp, 'wrap', 'unwrap'), ...TRUSTED, ...kekUnwraps(kind), ...trustedKekCopy(label)];
}

/** `kek-rotate:<kind>:vN`: the same value, a handle that unwraps for another KEK to wrap. Not trusted, and wraps nothing. */
export function rotatingKek(kind: OperateKind, label: string, kwp: number): Template {
  return fixed(
    ...kek(kwp, 'unwrap'),
    ...inToken(label),
    ...HIDDEN,
    { type: pkcs11.CKA_TRUSTED, value: false },
    ...rotatingUnwraps(kind),
  );
}

/** A key of the agreement that gives birth to KEKs (ECDH): in flight, destroyed as soon as they are there. */
export function agreementPair(ecdh: number): PairTemplate {
  const where = [...IN_FLIGHT, ...OPEN_TO_SEE];
  return {
    publicKey: fixed(
      ...kind(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_EC),
      ...where,
      { type: pkcs11.CKA_EC_PARAMS, value: CURVES.secp521r1.params },
      ...only(PUBLIC_USES),
    ),
    privateKey: fixed(
      ...kind(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_EC),
      ...where,
      { type: pkcs11.CKA_SENSITIVE, value: true },
      ...extractable(false),
      ...only(PRIVATE_USES, 'derive'),
      ...allowing(ecdh),
    ),
  };
}

/** `kek:operate:vN` and `kek:release:vN` as the first ceremonies made them: one for all of a purpose. Read, never made. */
export function olderKekTemplate(purpose: Purpose, label: string, kwp: number): Template {
  const unwraps: Template = [
    { type: pkcs11.CKA_SENSITIVE, value: true },
    ...(purpose === 'operate' ? extractable(false) : []),
  ];
  return fixed(
    ...kek(kwp, 'wrap', 'unwrap'),
    ...inToken(label),
    ...HIDDEN,
    ...nested(pkcs11.CKA_UNWRAP_TEMPLATE, unwraps),
  );
}

/**
 * A trusted public key: `depositary:<id>`, or the public half of `server-for:<id>:vN`. Only the SO can make it. Under it go
 * keys that were made in this token, for this call: no key that was brought in or unwrapped.
 */
export function trustedTemplate(
  label: string,
  key: { readonly modulus: Buffer; readonly exponent: Buffer; readonly id: Buffer },
  oaep: number,
): Template {
  return fixed(
    ...kind(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_RSA),
    ...inToken(label),
    ...OPEN_TO_SEE,
    ...TRUSTED,
    { type: pkcs11.CKA_ID, value: key.id },
    { type: pkcs11.CKA_MODULUS, value: key.modulus },
    { type: pkcs11.CKA_PUBLIC_EXPONENT, value: key.exponent },
    ...only(PUBLIC_USES, 'wrap'),
    ...allowing(oaep),
    ...nested(pkcs11.CKA_WRAP_TEMPLATE, [{ type: pkcs11.CKA_LOCAL, value: true }, ...IN_FLIGHT]),
  );
}

/** `identity` and `log`: pairs that sign and never leave. */
export function signingPair(label: string, curve: 'secp256r1' | 'Ed25519', mechanism: number): PairTemplate {
  const keyType = curve === 'Ed25519' ? CKK_EC_EDWARDS : pkcs11.CKK_EC;
  return {
    publicKey: fixed(
      ...kind(pkcs11.CKO_PUBLIC_KEY, keyType),
      ...inToken(label),
      ...OPEN_TO_SEE,
      { type: pkcs11.CKA_EC_PARAMS, value: CURVES[curve].params },
      ...only(PUBLIC_USES, 'verify'),
      ...allowing(mechanism),
    ),
    privateKey: fixed(
      ...kind(pkcs11.CKO_PRIVATE_KEY, keyType),
      ...inToken(label),
      ...GUARDED,
      ...extractable(false),
      ...only(PRIVATE_USES, 'sign'),
      ...allowing(mechanism),
    ),
  };
}
