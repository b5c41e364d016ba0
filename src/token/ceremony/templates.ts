import pkcs11 from 'pkcs11js';
import type { Template } from '../attributes.js';
import { CURVES } from '../spki.js';
import type { PairTemplate } from '../templateParts.js';
import {
  AES_256,
  allowing,
  CKK_EC_EDWARDS,
  extractable,
  fixed,
  GUARDED,
  inToken,
  kind,
  NEVER_OUT,
  NEVER_READABLE,
  only,
  OPEN_TO_SEE,
  PRIVATE_USES,
  PUBLIC_USES,
  SECRET_AES,
  SECRET_USES,
} from '../templateParts.js';

/** `kek:operate:vN` and `kek:release:vN`. */
export function kekTemplate(purpose: 'operate' | 'release', label: string, kwp: number): Template {
  return fixed(
    ...SECRET_AES,
    ...AES_256,
    ...inToken(label),
    ...GUARDED,
    ...extractable(false),
    ...only(SECRET_USES, 'wrap', 'unwrap'),
    ...allowing(kwp),
    ...(purpose === 'operate' ? NEVER_OUT : NEVER_READABLE),
  );
}

/** A trusted public key: `depositary:<id>`, or the public half of `server-for:<id>`. Only the SO can make it. */
export function trustedTemplate(
  label: string,
  key: { readonly modulus: Buffer; readonly exponent: Buffer; readonly id: Buffer },
  oaep: number,
): Template {
  return fixed(
    ...kind(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_RSA),
    ...inToken(label),
    ...OPEN_TO_SEE,
    { type: pkcs11.CKA_TRUSTED, value: true },
    { type: pkcs11.CKA_ID, value: key.id },
    { type: pkcs11.CKA_MODULUS, value: key.modulus },
    { type: pkcs11.CKA_PUBLIC_EXPONENT, value: key.exponent },
    ...only(PUBLIC_USES, 'wrap'),
    ...allowing(oaep),
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
